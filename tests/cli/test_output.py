"""JSON, tables, and the small pictures."""

import io
import json

import numpy as np
import pytest

from aetool.checks.parity import OutputParity
from aetool.cli import _output as output
from aetool.cli._options import CommaList
from aetool.cli.commands.demo import sparkline
from aetool.cli.show.training import epochs_line


def document_of(capsys, value):
    output.print_json({"value": value})
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["value"]


def test_json_is_strict_and_knows_numpy(capsys):
    values = np.array([1.5, np.nan, np.inf, -np.inf], np.float32)
    assert document_of(capsys, values) == [1.5, "NaN", "Infinity", "-Infinity"]
    assert [float(text) for text in ("NaN", "Infinity")][1] == float("inf")
    assert document_of(capsys, {"a": np.int64(3), "b": np.bool_(True), "c": None}) == {
        "a": 3,
        "b": True,
        "c": None,
    }


def test_json_shows_dates_bytes_and_objects_as_text(capsys):
    assert document_of(capsys, np.array(["2026-01-02"], "datetime64[ns]"))[0].startswith("2026-01-02")
    assert document_of(capsys, np.array([b"id"], object)) == ["b'id'"]
    assert document_of(capsys, np.array(["a", None], object)) == ["a", None]


def shown(made):
    stream = io.StringIO()
    output.console(stream).print(made)
    return stream.getvalue()


def test_a_table_in_a_pipe_is_never_folded_and_ends_in_no_spaces():
    long = "x" * 500
    text = shown(output.table(["name", "value"], [["a", long], ["bb", ""]]))
    assert long in text.splitlines()[1]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_brackets_and_colons_in_names_are_shown_as_they_are():
    assert "[red]x[/] :smile:" in shown(output.facts([("name", "[red]x[/] :smile:")]))


def test_a_parity_that_failed_shows_bad_and_its_reason():
    from aetool.cli.show.bundle import show_parity

    record = OutputParity("encoder", "embedding", "golden", (3, 2), 1.0, 1.0, 1.0, 1e-5, reason="far off")
    stream = io.StringIO()
    show_parity(output.console(stream), [record])
    assert " bad\n" in stream.getvalue() and "far off" in stream.getvalue()


def test_a_sparkline_goes_from_high_to_low_and_is_thinned():
    assert sparkline([3.0, 2.0, 1.0])[0] == "█" and sparkline([3.0, 2.0, 1.0])[-1] == "▁"
    assert len(sparkline([float(i) for i in range(1000)], width=24)) == 24
    assert sparkline([1.0]) == "▁"


@pytest.mark.parametrize(
    ("typed", "names"), [("a,b", ("a", "b")), ('"a, b",c', ("a, b", "c")), ("", ("",)), ("one", ("one",))]
)
def test_lists_of_columns_split_at_commas_outside_quotes(typed, names):
    assert CommaList().convert(typed, None, None) == names


@pytest.mark.parametrize(
    ("of_mean", "told"),
    [
        (1.0, " (the mean: 1.0000), 80% of the variance explained"),
        (0.2, " (the mean: 0.2000), no better than the mean"),
        (None, ""),
        (0.0, ""),
    ],
)
def test_a_loss_is_held_against_that_of_the_mean(of_mean, told):
    history = [{"validation_loss": 0.5}, {"validation_loss": 0.2}, {"validation_loss": 0.3}]
    assert epochs_line(history, of_mean) == "3, best validation loss 0.2000" + told
