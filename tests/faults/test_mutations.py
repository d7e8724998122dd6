"""Thousands of damaged bundles, most with their hashes made right again: each runs, or is refused in one line."""

import shutil
from collections import Counter

import numpy as np
import pytest
from bundle_mutations import mutate
from bundle_workers import ALLOWED, EXPORTED, Worker, long_or, tally

from aetool import Limits

FILES = long_or(100, 7000)  # of each bundle


@pytest.mark.parametrize("kind", ["table", "mixed_bundle", "convolutional"])
def test_a_damaged_bundle_is_used_or_refused_and_nothing_else(kind, request, tmp_path):
    good = EXPORTED if kind == "table" else request.getfixturevalue(kind)
    worker, outcomes, faults = Worker(good, tmp_path / "log"), Counter(), []
    try:
        for seed in range(FILES):
            bad = tmp_path / "bundle"
            shutil.copytree(good, bad)
            done = mutate(bad, np.random.default_rng(seed))
            outcome = worker.use(bad)
            outcomes[outcome] += 1
            if outcome not in ALLOWED:
                faults.append((seed, done, outcome))
                shutil.copytree(bad, tmp_path / f"fault{seed}")
            shutil.rmtree(bad)
    finally:
        worker.close()
    print(f"\n{kind}: {tally(outcomes)}")
    assert faults == []
    assert outcomes["BundleError"] > FILES / 4


FILLINGS = {"lists": "[],", "objects": "{},", "texts": '"é",', "numbers": "1.5,"}


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
def test_the_largest_manifest_that_is_read_swells_nothing(filling, tmp_path):
    worker, bad = Worker(EXPORTED, tmp_path / "log"), tmp_path / "bundle"
    shutil.copytree(EXPORTED, bad)
    most = Limits().manifest_bytes - 20
    (bad / "manifest.json").write_text('{"a":[' + filling * (most // len(filling.encode())) + "1]}")
    try:
        assert worker.use(bad) == "BundleError"
    finally:
        worker.close()
