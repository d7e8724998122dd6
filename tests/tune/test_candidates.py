"""What is tried: everything that can differ for a purpose, nothing twice."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetool.bundle.bundle import Bundle
from aetool.runtime.settings import DEFAULTS
from aetool.tune import _candidates as module
from aetool.tune._candidates import challengers, default_of

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"
MANIFEST = Bundle.open(EXPORTED).manifest
WAYS = {("cpu", "fp32"): EXPORTED, ("cpu", "int8"): EXPORTED, ("openvino", "fp32"): EXPORTED}


def tried(purpose, ways=WAYS, cores=4, graph="score", physical=2):
    default = default_of("cpu", EXPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "usable_cores", lambda: cores)
        patch.setattr(module, "physical_cores", lambda: physical)
        patch.setattr(module, "few_threads", lambda size: min(cores, 4))
        return challengers(purpose, graph, MANIFEST, ways, default)


@given(
    purpose=st.sampled_from(["latency", "throughput"]),
    cores=st.integers(1, 200),
    graph=st.sampled_from(["encode", "reconstruct", "score"]),
)
def test_all_differ_from_each_other_and_from_the_default(purpose, cores, graph):
    found = tried(purpose, cores=cores, graph=graph)
    choices = [one.choice for one in found]
    assert len(set(choices)) == len(choices) == len({one.name for one in found})
    assert default_of("cpu", EXPORTED).choice not in choices
    assert all((one.choice.settings.direct_threads or 1) <= cores for one in found)


def test_every_provider_and_precision_comes_first_in_its_default_setting():
    for purpose in ("latency", "throughput"):
        first, second, *others = tried(purpose)
        assert [first.way, second.way] == [("cpu", "int8"), ("openvino", "fp32")]
        assert first.choice.settings == second.choice.settings == DEFAULTS
        assert all(one.choice.settings != DEFAULTS for one in others)


def test_for_one_row_threads_and_spinning_are_tried_for_many_rows_chunks_and_workers():
    one, many = (
        [c.choice.settings for c in tried(p, {("cpu", "fp32"): EXPORTED})] for p in ("latency", "throughput")
    )
    assert {s.direct_threads for s in one} == {None, 1, 2} and {s.spin_us for s in one} == {0, 100, 1000}
    assert all(s.chunk_rows is None and s.workers is None for s in one)
    assert len({s.chunk_rows for s in many}) == 5 and {s.workers for s in many} == {None, 2}
    assert all(s.direct_threads is None and s.spin_us == 100 for s in many)


def test_where_the_core_answers_a_few_rows_every_engine_is_measured_under_one_name():
    ways = {("auto", "fp32"): EXPORTED, ("cpu", "fp32"): EXPORTED}
    default = default_of("auto", EXPORTED)
    one = challengers("latency", "score", MANIFEST, ways, default, 1)
    more = challengers("latency", "score", MANIFEST, ways, default, 40)
    many = challengers("throughput", "score", MANIFEST, ways, default, 65_536)
    assert {c.choice.provider for c in one} == {"cpu"}  # "auto" is the core, the default itself
    assert {c.choice.provider for c in [*more, *many]} == {"auto"}
    assert 40 in {c.choice.settings.native_rows for c in more}


def test_on_one_core_there_are_no_threads_to_tune():
    assert tried("latency", {("cpu", "fp32"): EXPORTED}, cores=1) == []


def test_half_the_threads_are_tried_only_where_two_share_a_core():
    assert all(one.choice.settings.workers is None for one in tried("throughput", physical=4))


def test_names_say_what_differs():
    names = [one.name for one in tried("throughput")]
    assert names[:2] == ["int8", "openvino"] and "int8, 2 workers" in names
    assert "no spinning" in [one.name for one in tried("latency")]
