"""Which providers and precisions keep the budget."""

import dataclasses
import shutil

import numpy as np
import pytest
from variants import add_precision

from aetool.checks.fidelity import Budget, Fidelity
from aetool.core.native import vectors
from aetool.errors import InputError, VerificationError
from aetool.tune._backends import MOST_ROWS, Sample, find_ways

USUAL = "cpu" if vectors() is None else "auto"
"""Provider that `aetool.load` uses without a GPU."""


@pytest.fixture
def found(tmp_path, golden_rows):
    """(bundle, ...) -> Ways"""

    def apply(bundle, *, budget=Budget(), labels=None, given=True, makers=None, rows=golden_rows):  # noqa: B008
        sample = Sample(rows, labels, "rows", given)
        scratch = tmp_path / "scratch"
        return find_ways(
            bundle, sample, budget, makers=makers or {}, scratch=scratch, seed=0, progress=lambda _: None
        )

    return apply


def why(ways, name):
    return next(trial.dropped for trial in ways.left_out if trial.name == name)


def test_precisions_of_the_bundle_that_keep_the_budget_are_tried(found, two):
    ways = found(two)
    assert ways.default == (USUAL, "fp32")
    assert next(iter(ways.within)) == (USUAL, "fp32") and (USUAL, "fp16") in ways.within
    assert ways.judged[USUAL, "fp16"].fidelity.flips == 0 and ways.judged[USUAL, "fp32"].fidelity is None


def test_one_that_decides_otherwise_is_left_out_with_the_figure_and_the_limit(found, plain):
    add_precision(plain, "int8", threshold_factor=0.5)
    ways = found(plain)
    assert (USUAL, "int8") not in ways.within
    assert why(ways, "int8").startswith("flips ") and why(ways, "int8").endswith(" above 0.50%")
    trial = next(one for one in ways.left_out if one.name == "int8")
    assert trial.fidelity.flips > 0.005
    assert (USUAL, "int8") in found(plain, budget=Budget(max_flips=1.0)).within


def test_labels_make_the_drop_of_auroc_known(found, two, golden_rows):
    labels = np.arange(len(golden_rows)) % 3 == 0
    assert found(two, labels=labels).judged[USUAL, "fp16"].fidelity.auroc_drop == 0
    with pytest.raises(InputError, match="only normal rows"):
        found(two, labels=np.zeros(len(golden_rows), bool))


def test_without_rows_given_the_bundles_own_figures_count(found, plain, golden_rows):
    figures = Fidelity(1000, 0.99, 0.25, 250, (0.01, 0.26), 1.0, None, None)
    add_precision(plain, "int8", figures={"fidelity": dataclasses.asdict(figures)})
    ways = found(plain, given=False)
    assert why(ways, "int8") == "flips 25.00% above 0.50%"
    assert (USUAL, "int8") in found(plain, given=True).within


def test_without_figures_the_golden_rows_count(found, plain):
    add_precision(plain, "int8", threshold_factor=0.5)
    assert why(found(plain, given=False), "int8").startswith("flips ")


def test_a_precision_that_the_bundle_lacks_is_made_in_a_copy(found, plain):
    def make(bundle, copy):
        add_precision(shutil.copytree(bundle, copy), "int8")

    before = sorted(plain.rglob("*"))
    ways = found(plain, makers={"int8": make})
    assert ways.within[USUAL, "int8"] != plain and ways.within[USUAL, "fp32"] == plain
    assert sorted(plain.rglob("*")) == before


def test_one_that_is_there_is_not_made_and_one_that_cannot_be_made_is_told(found, two):
    def refuse(bundle, copy):
        raise VerificationError("int8: AUROC drop 0.0100 above 0.002")

    ways = found(two, makers={"fp16": refuse, "int8": refuse})
    assert (USUAL, "fp16") in ways.within and why(ways, "int8") == "int8: AUROC drop 0.0100 above 0.002"


def test_providers_that_do_not_work_here_are_told(found, two):
    assert "NVIDIA" in why(found(two), "cuda")


def test_of_many_rows_some_are_drawn_with_their_labels():
    rows = np.arange(MOST_ROWS + 500, dtype=np.float32).reshape(-1, 1)
    drawn = Sample(rows, rows[:, 0] % 2 == 0, "rows", given=True).drawn(0)
    assert len(drawn.rows) == MOST_ROWS and drawn.source == f"{MOST_ROWS:,} of rows"
    np.testing.assert_array_equal(drawn.labels, drawn.rows[:, 0] % 2 == 0)
