"""A process killed at any moment leaves the old result or the new one, and nothing in the way of the next."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from bundle_workers import long_or
from commands import ENDINGS, OUT, WRITING, line

KILLS = long_or(2, 80)  # of each command


@pytest.mark.parametrize("name", WRITING)
def test_a_command_killed_at_any_moment_leaves_the_old_result_or_the_new_one(name, runner, sources, tmp_path):
    writing, random = WRITING[name], np.random.default_rng(KILLS)
    out = tmp_path / f"out{ENDINGS.get(name, '')}"

    def run(words, kill_after_s=None, apart=True):
        return runner.run(line(words, sources, out), kill_after_s, apart=apart)

    if OUT in writing.new:  # it needs something to add to
        assert run(writing.old) == 0
    assert run(writing.new, apart=False) == 0
    times = []
    for _ in range(long_or(1, 3)):
        start = time.monotonic()
        assert run(writing.new) == 0
        times.append(time.monotonic() - start)
    takes, new = min(times), writing.state(out)  # the machine may have had others to serve
    assert run(writing.old) == 0
    old = writing.state(out)
    assert old != new
    seen, tries = Counter(), itertools.count()
    while sum(count for (code, _), count in seen.items() if code == -9) < KILLS:
        i = next(tries)
        assert i < 10 * KILLS  # nearly all ended before their kill came
        # Half of them anywhere, half of them near the end, where files are written and take their name.
        moment = random.uniform(0, 1) if i % 2 else random.uniform(0.8, 1)
        code = run(writing.new, takes * moment)
        state = writing.state(out)
        assert state in (old, new)
        seen[code, state] += 1
        if state == new and i % 3 == 0:
            assert run(writing.old) == 0
    print(f"\n{name}: (exit code, result) -> times: {dict(seen)}")
    assert run(writing.new) == 0
    assert writing.state(out) == new
    assert [entry.name for entry in tmp_path.iterdir()] == [out.name]
