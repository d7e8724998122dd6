"""Contestants are compared before anything is timed."""

import numpy as np
import pytest

from aetool.bench.agreement import REDUCED_TOLERANCE, require_agreement
from aetool.bench.contestants import opened
from aetool.errors import BenchmarkError


@pytest.fixture
def pair(contestant, rows):
    """(amounts) -> context manager: two contestants that add different amounts."""
    from contextlib import contextmanager

    @contextmanager
    def made(first, second, outputs=("y",)):
        with opened(
            [contestant("adds", "one", amount=first), contestant("adds", "two", amount=second, outputs=outputs)]
        ) as running:
            for one in running:
                one.load()
                one.take(rows)
            yield running

    return made


def test_those_that_agree_are_recorded(pair):
    with pair(1.0, 1.5) as running:
        records = require_agreement(running, graph="score", rows="the rows")
    assert [record.contestant for record in records] == ["one", "two"]
    assert records[0].max_scaled == 0
    assert records[1].max_scaled == pytest.approx(0.5 / 2048, rel=1e-3)  # as a share of the output's range
    assert "compared with one" in records[1].rows


def test_one_that_computes_something_else_is_named(pair):
    with (
        pair(1.0, 20.0) as running,
        pytest.raises(BenchmarkError, match=r"two: score y differs.*nothing was timed"),
    ):
        require_agreement(running, graph="score")


def test_another_precision_may_differ_more(pair):
    with pair(1.0, 20.0) as running:
        require_agreement(running, graph="score", tolerance=REDUCED_TOLERANCE)


def test_a_reference_may_be_given(pair, rows):
    with pair(1.0, 1.0) as running:
        require_agreement(running, expected={"y": np.load(rows) + 1})
        with pytest.raises(BenchmarkError, match="one: "):
            require_agreement(running, expected={"y": np.load(rows) + 100})


def test_other_outputs_are_refused(pair):
    with pair(1.0, 1.0, ("z",)) as running, pytest.raises(BenchmarkError, match="two: gives 'z', the others y"):
        require_agreement(running)


def test_scores_must_rank_the_rows_alike_in_the_same_precision(contestant, rows):
    pair = [contestant("scores", name, upside_down=name == "two") for name in ("one", "two")]
    with opened(pair) as running:
        for one in running:
            one.load()
            one.take(rows)
        with pytest.raises(BenchmarkError, match=r"two: .*rank correlation"):
            require_agreement(running)
        require_agreement(running, tolerance=REDUCED_TOLERANCE)
