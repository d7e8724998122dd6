"""The page of a tuning."""

import re

import pytest

from aetool.report import tuning_page
from aetool.report.bench.tuning_page import TimedTrial, front_of, points_of
from aetool.runtime.machine import Machine
from aetool.runtime.settings import RunConfig, RunSettings
from aetool.runtime.tuning_file import BundleFacts, FidelityFigures, Race, Trial, TuningResult


def trial(name, precision="fp32", *, ratio=None, flips=None, dropped="", stage="final", settings=RunSettings()):  # noqa: B008
    races = () if ratio is None else (Race(stage, 1, (ratio, ratio), (1.0, 1.0), ratio),)
    fidelity = None if flips is None else FidelityFigures(100, flips, 0.999, None, None, "100 rows")
    return Trial(name, RunConfig("cpu", precision, settings), fidelity, races, dropped)


@pytest.fixture
def result():
    """int8 is twice as fast, and differs in a tenth of a percent."""
    trials = (
        trial("default", dropped="something else is clearly faster"),
        trial("int8", "int8", ratio=0.5, flips=0.001),
        trial("fp16 <b>", "fp16", ratio=0.8, flips=0.002, dropped="int8 is faster still", stage="stage 1"),
        trial("int4", "int4", flips=0.008, dropped="flips 0.80% above 0.50%"),
    )
    return TuningResult(
        aetool="0.1.0",
        created="2026-01-02T03:04:05Z",
        command=("aetool", "tune", "machines"),
        purpose="throughput",
        graph="score",
        rows=65_536,
        data="100 rows of new.csv",
        budget={"max_flips": 0.005, "max_auroc_drop": None},
        machine=Machine("A processor", ("avx2",), 2, {"onnxruntime": "1.31.1"}),
        bundle=BundleFacts("machines <script>", "f" * 64, "0" * 64),
        choice=RunConfig("cpu", "int8", RunSettings()),
        speedup=2.0,
        reason="2.00x the default's speed, faster in all 2 rounds of the final",
        trials=trials,
    )


def test_the_choice_its_reason_and_everything_that_was_tried_are_told(result):
    page = tuning_page(result)
    for told in (
        "int8 on cpu: 2.00x the default",
        "fp16 &lt;b&gt;",
        "flips 0.80% above 0.50%",
        "aetool tune machines",
    ):
        assert told in page
    assert "<script>" not in page.replace("<script>\n", "").split("</main>")[0]
    assert "machines &lt;script&gt;" in page


def test_every_timed_candidate_is_a_sign_and_the_budget_a_line(result):
    page = tuning_page(result)
    picture = page[page.index('id="pareto-title"') : page.index("</figure>")]
    drawn = picture[: picture.index('class="legend"')]
    assert len(re.findall(r'class="s\d (?:dot|open)"', drawn)) == 3
    assert "budget 0.5\xa0%" in picture and "the choice: int8" in picture
    assert (
        "budget"
        not in tuning_page(result._replace(budget={"max_flips": None}))
        .split('id="environment"')[0]
        .split("<desc")[1]
    )


def test_the_front_has_what_no_other_beats_in_both(result):
    points = points_of(result)
    assert [point.trial.name for point in front_of(points)] == ["default", "int8"]
    same = [
        TimedTrial(trial("slow", ratio=0.9, flips=0.0)),
        TimedTrial(trial("fast", ratio=0.3, flips=0.0)),
    ]
    assert [point.trial.name for point in front_of([*points, *same])] == ["fast"]


def test_where_only_the_default_was_left_there_is_a_page_too(result):
    alone = result._replace(
        choice=RunConfig("cpu", "fp32", RunSettings()),
        speedup=1.0,
        reason="nothing else is clearly faster",
        trials=(trial("default"),),
    )
    page = tuning_page(alone)
    assert "nothing else is clearly faster" in page and 'id="final"' not in page
