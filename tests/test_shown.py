"""What a notebook shows of an object: one short line that says what it is, not the arrays in it."""

import pytest

import aetool
from aetool.export import export_checkpoint
from aetool.segments import add_segments
from aetool.tables import table_from_columns


@pytest.fixture(scope="module")
def shown(cancer, trained, mixed, tmp_path_factory):
    path = tmp_path_factory.mktemp("shown") / "cancer"
    exported = export_checkpoint(trained, path)
    model = aetool.load(path)
    return {
        "table": repr(cancer),
        "mixed table": repr(table_from_columns(mixed, categorical=["auto", "region"])),
        "trained": repr(trained),
        "exported": repr(exported),
        "segmented": repr(add_segments(path, cancer.values, clusters=2)),
        "bundle": repr(exported.bundle),
        "model": repr(model),
        "explanation": repr(model.explain(cancer.values)),
        "path": str(path),
    }


def test_a_table_tells_its_size_and_what_it_holds(shown):
    assert shown["table"] == "<Table 'cancer.csv': 569 rows, 30 features, 212 labelled anomalies>"
    assert shown["mixed table"] == "<Table 'table': 240 rows, 5 features, 3 of categories>"


def test_what_was_trained_tells_its_shape_and_how_well(shown, trained):
    best = min(epoch["validation_loss"] for epoch in trained.history)
    assert shown["trained"] == (
        f"<TrainedAutoencoder: 30 features, embedding 12, 8 epochs, lowest validation loss {best:.4g}>"
    )


def test_a_bundle_tells_where_it_lies(shown):
    assert shown["bundle"] == f"<Bundle {shown['path']!r}: fp32>"


def test_what_was_published_tells_how_well_it_agrees(shown):
    for name in ("exported", "segmented"):
        start = f"<{name.capitalize()} 'cancer': "
        assert shown[name].startswith(start)
        counts, difference = shown[name].removeprefix(start).split(" outputs agree, largest difference ")
        passed, total = counts.split(" of ")
        assert passed == total and float(difference.removesuffix(" of the range>")) < 1e-5


def test_an_explanation_tells_what_it_has(shown):
    assert shown["explanation"] == "<Explanation: contribution, expected, found; 569 x 30 each>"


def test_every_one_of_them_is_one_short_line(shown):
    for line in shown.values():
        assert "\n" not in line and len(line.replace(shown["path"], "")) < 150, line
