"""`aetool score --top`: the worst rows first, and no others."""

import csv
import io

import numpy as np
import pytest


def table_of(result):
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.fixture
def scored(aetool, made):
    """All rows of new.csv with their number, the highest score first."""
    rows = table_of(aetool("score", made / "bundle", made / "new.csv", "--keep", "id"))
    numbered = [{**row, "row": str(number)} for number, row in enumerate(rows, 1)]
    return sorted(numbered, key=lambda row: -float(row["score"]))


def test_the_highest_scores_come_first_with_their_rows_and_reasons(aetool, made, scored):
    found = table_of(
        aetool("score", made / "bundle", made / "new.csv", "--keep", "id", "--top", 5, "--explain", 1)
    )
    assert [{name: row[name] for name in scored[0]} for row in found] == scored[:5]
    whole = table_of(aetool("score", made / "bundle", made / "new.csv", "--keep", "id", "--explain", 1))
    reasons = {row["id"]: row["why_1"] for row in whole}
    assert all(row["why_1"] == reasons[row["id"]] for row in found)
    everything = table_of(aetool("score", made / "bundle", made / "new.csv", "--keep", "id", "--top", 9999))
    assert [row["id"] for row in everything] == [row["id"] for row in scored]


def test_of_several_files_the_highest_of_all_are_given(aetool, made, scored, work, monkeypatch):
    from aetool.tables import streaming

    monkeypatch.setattr(streaming, "_batch_rows", lambda choice, width: 3)
    lines = (made / "new.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (work / "a.csv").write_text("".join(lines[:16]), encoding="utf-8")
    (work / "b.csv").write_text("".join([lines[0], *lines[16:]]), encoding="utf-8")
    for given in (["a.csv", "b.csv"], ["*.csv"], ["."]):
        found = table_of(aetool("score", made / "bundle", *given, "--keep", "id", "--top", 7, "--explain", 1))
        assert [row["id"] for row in found] == [row["id"] for row in scored[:7]]
        for row, whole in zip(found, scored, strict=False):  # of other batches, perhaps by another engine
            assert float(row["score"]) == pytest.approx(float(whole["score"]), rel=1e-5)
        for row, whole in zip(found, scored, strict=False):
            first = 15 if row["file"].endswith("b.csv") else 0
            assert int(row["row"]) + first == int(whole["row"]) and row["why_1"]
    written = aetool("score", made / "bundle", "a.csv", "b.csv", "--top", 7, "-o", "top.csv")
    assert "7 of 40" in written.stdout and "anomalies" in written.stdout


def test_rows_without_a_score_come_last(aetool, made, work):
    lines = (made / "new.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    cells = lines[1].split(",")
    (work / "gap.csv").write_text("".join([lines[0], ",".join([cells[0], "", *cells[2:]]), *lines[2:6]]))
    done = aetool("score", made / "bundle", "gap.csv", "--top", 5)
    assert "1 of 5 rows have no finite score" in done.stderr
    assert [row["row"] for row in table_of(done)][-1] == "1" and np.isnan(float(table_of(done)[-1]["score"]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "folder"), "--top writes one file"),
        (("--workers", "2"), "--workers is for streaming"),
        (("--top", "0"), "0 is not in the range"),
    ],
)
def test_what_does_not_go_with_top_is_told(aetool, made, work, words, told):
    done = aetool("score", made / "bundle", made / "new.csv", "--top", "3", *words)
    assert done.exit_code == 2 and told in done.stderr


def test_a_kept_column_called_as_a_result_is_refused(fails, made, work):
    text = (made / "new.csv").read_text(encoding="utf-8").replace("id,", "row,", 1)
    (work / "a.csv").write_text(text, encoding="utf-8")
    (work / "b.csv").write_text(text, encoding="utf-8")
    assert "--keep 'row'" in fails("score", made / "bundle", "a.csv", "--top", "3", "--keep", "row")
    assert "--keep 'row'" in fails("score", made / "bundle", "a.csv", "b.csv", "--top", "3", "--keep", "row")


@pytest.mark.parametrize("option", ["--explain", "--top"])
def test_a_table_without_rows_gives_none(aetool, made, work, option):
    header = (made / "new.csv").read_text().split("\n", 1)[0]
    (work / "none.csv").write_text(header + "\n")
    result = aetool("score", made / "bundle", "none.csv", option, 2)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 1
