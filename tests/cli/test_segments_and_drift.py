"""`aetool segment`, `aetool drift`, `aetool score --explain`: what a person and a program see."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aetool.report.bundle.facts import advice

HEADER = "id,spend,visits,kind\n"


def shop(rows, seed, shift=0.0):
    random = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        often = i % 3 == 0
        kind = "club" if often else "guest"
        spend = (9000 if often else 3000) + 400 * random.normal() + shift
        lines.append(f"c{i},{spend:.2f},{(40 if often else 5) + random.normal():.3f},{kind}\n")
    return HEADER + "".join(lines)


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """A directory with train.csv, same.csv, shifted.csv and a bundle; nobody writes into it."""
    import click.testing

    from aetool.cli import main

    folder = tmp_path_factory.mktemp("shops")
    for name, text in (("train", shop(300, 0)), ("same", shop(150, 1)), ("shifted", shop(150, 1, 4000))):
        (folder / f"{name}.csv").write_text(text)
    data, checkpoint = ["train", folder / "train.csv", "--drop", "id"], ["-o", folder / "checkpoint"]
    for words in (
        [*data, "--categorical", "kind", "--epochs", "30", "--batch-size", "32", *checkpoint],
        ["export", folder / "checkpoint", "-o", folder / "bundle"],
    ):
        done = click.testing.CliRunner().invoke(main, list(map(str, words)))
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def bundle(shops, tmp_path):
    return Path(shutil.copytree(shops / "bundle", tmp_path / "bundle"))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_segments_are_made_shown_and_given_to_rows(aetool, bundle, shops, tmp_path):
    made = aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", 2)
    assert made.exit_code == 0, made.output
    assert "Segment 0: 200 rows (67%)" in made.stdout and "Segment 1: 100 rows (33%)" in made.stdout
    assert "kind   club for 100%, everybody 33% (3 times)" in made.stdout
    assert "visits typical 40" in made.stdout and "the median: half of the rows" in made.stdout
    shown = aetool("segment", "show", bundle)
    assert shown.stdout == made.stdout
    assert "segments         2, stability " in aetool("info", bundle).stdout
    assigned = aetool("segment", "assign", bundle, shops / "same.csv", "--keep", "id,kind")
    found = rows_of(assigned.stdout)
    assert list(found[0]) == ["id", "kind", "segment"] and len(found) == 150
    assert {(row["kind"], row["segment"]) for row in found} == {("club", "1"), ("guest", "0")}
    written = aetool("segment", "assign", bundle, shops / "same.csv", "-o", tmp_path / "out.csv")
    assert "0: 100, 1: 50" in written.stdout
    assert [row["segment"] for row in rows_of((tmp_path / "out.csv").read_text())] == [r["segment"] for r in found]
    assert aetool("verify", bundle).exit_code == 0


def test_json_has_every_segment_and_its_traits(aetool, bundle, shops):
    made = json.loads(aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", 2, "--json").stdout)
    shown = json.loads(aetool("segment", "show", bundle, "--json").stdout)
    assert made["segments"] == shown["segments"] and all(record["passed"] for record in made["parity"])
    assert {trait["feature"] for trait in shown["segments"][0]["traits"]} == {"spend", "visits", "kind"}
    given = json.loads(aetool("segment", "assign", bundle, shops / "same.csv", "--json").stdout)
    assert given["counts"] == {"0": 100, "1": 50} and len(given["data"]["segment"]) == 150


def test_names_of_segments_stand_in_the_profile_the_results_and_the_page(aetool, fails, bundle, shops, tmp_path):
    aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", 2)
    named = aetool("segment", "name", bundle, "0=Small shops", "1= Big = good ")
    assert named.exit_code == 0, named.output
    assert "Segment 0, Small shops: 200 rows (67%)" in named.stdout
    assert "Segment 1, Big = good: 100 rows" in aetool("segment", "show", bundle).stdout
    found = rows_of(aetool("segment", "assign", bundle, shops / "same.csv").stdout)
    assert {(row["segment"], row["segment_name"]) for row in found} == {("0", "Small shops"), ("1", "Big = good")}
    assert aetool("report", bundle, "-o", tmp_path / "page.html").exit_code == 0
    assert "Segment 0, Small shops" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert aetool("verify", bundle).exit_code == 0
    assert "name one of them" in fails("segment", "name", bundle, "2=x")
    (tmp_path / "clash.csv").write_text("segment_name,spend,visits,kind\nx,1,2,club\n")
    clash = ("segment", "assign", bundle, tmp_path / "clash.csv", "--keep", "segment_name")
    assert "--keep 'segment_name'" in fails(*clash)


def test_rows_without_a_segment_are_told(aetool, bundle, shops, tmp_path):
    aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", 2)
    (tmp_path / "gap.csv").write_text(HEADER + "a,,5,club\nb,3000,5,guest\n")
    found = aetool("segment", "assign", bundle, tmp_path / "gap.csv")
    assert [row["segment"] for row in rows_of(found.stdout)] == ["-1", "0"]
    assert "1 of 2 rows have no segment" in found.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "learn "),
        (("{bundle}",), "choose one of learn, show, name, assign"),
        (("{bundle}", "--profile"), "choose one of learn, show, name, assign"),
        (("{bundle}", "--data", "x.csv"), "choose one of learn, show, name, assign"),
        (("lern", "{bundle}", "x.csv"), "'learn'"),
        (("learn", "{bundle}"), "Missing argument 'DATA'"),
        (("name", "{bundle}"), "Missing argument 'N=NAME...'"),
        (("name", "{bundle}", "shops"), "'shops' is not NUMBER=NAME"),
        (("name", "{bundle}", "x=shops"), "is not NUMBER=NAME"),
        (("assign", "{bundle}", "new.csv", "--clusters", "3"), "No such option"),
        (("learn", "{bundle}", "x.csv", "-o", "out.csv"), "No such option"),
        (("learn", "{bundle}", "x.csv", "--clusters", "some"), "'some' is neither a number nor auto"),
    ],
)
def test_a_wrong_command_line_is_told(aetool, bundle, words, told):
    done = aetool("segment", *(word.format(bundle=bundle) for word in words))
    assert done.exit_code == 2 and told in done.stderr


def test_what_segments_need_is_told(fails, aetool, bundle, shops):
    assert "has no segments" in fails("segment", "show", bundle)
    assert "make one with aetool segment" in fails("segment", "assign", bundle, shops / "same.csv")
    assert "expected 2 to 1,000" in fails("segment", "learn", bundle, shops / "train.csv", "--clusters", "1")
    aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", "2")
    assert "pass --overwrite" in fails("segment", "learn", bundle, shops / "train.csv")
    again = aetool("segment", "learn", bundle, shops / "train.csv", "--clusters", "3", "--overwrite", "--json")
    assert json.loads(again.stdout)["clusters"] == 3


def test_score_explains(aetool, shops, tmp_path):
    (tmp_path / "odd.csv").write_text(HEADER + "a,3000,40,guest\nb,20000,5,guest\nc,3000,5,club\n")
    plain = aetool("score", shops / "bundle", tmp_path / "odd.csv")
    found = aetool("score", shops / "bundle", tmp_path / "odd.csv", "--explain", 2, "--keep", "id")
    rows = rows_of(found.stdout)
    assert list(rows[0]) == [
        *("id", "score", "is_anomaly"),
        *("why_1", "why_1_share", "why_1_expected", "why_1_found"),
        *("why_2", "why_2_share", "why_2_expected", "why_2_found"),
    ]
    assert [row["score"] for row in rows] == [row["score"] for row in rows_of(plain.stdout)]
    assert rows[1]["why_1"] == "spend" and float(rows[1]["why_1_found"]) == 20000
    assert float(rows[1]["why_1_expected"]) < 20000
    assert all(0.3 < float(row["why_1_share"]) <= 1 for row in rows)
    by_kind = next(row for row in rows if row["why_1"] == "kind" or row["why_2"] == "kind")
    rank = 1 if by_kind["why_1"] == "kind" else 2
    assert by_kind[f"why_{rank}_found"] in ("club", "guest")
    everything = rows_of(aetool("score", shops / "bundle", tmp_path / "odd.csv", "--explain", 99).stdout)
    assert sum(float(everything[0][f"why_{rank}_share"]) for rank in (1, 2, 3)) == pytest.approx(1, abs=1e-5)
    assert "why_4" not in everything[0]


def test_score_explains_images_by_their_places(aetool, tmp_path):
    from torch import nn

    from aetool.export import export_module

    rows = np.random.default_rng(0).normal(size=(20, 1, 3, 3)).astype(np.float32)
    export_module(nn.Sequential(nn.Conv2d(1, 1, 1)), tmp_path / "images", rows=rows)
    rows[0, 0, 2, 1] = 500
    np.save(tmp_path / "rows.npy", rows)
    found = rows_of(aetool("score", tmp_path / "images", tmp_path / "rows.npy", "--explain", 1).stdout)
    assert found[0]["why_1"] == "0,2,1"


def test_no_drift_is_exit_code_0_and_drift_3(aetool, shops):
    same = aetool("drift", shops / "bundle", "--data", shops / "same.csv")
    assert same.exit_code == 0 and same.stdout.startswith("no drift\n"), same.output
    shifted = aetool("drift", shops / "bundle", "--data", shops / "shifted.csv")
    assert shifted.exit_code == 3 and shifted.stdout.startswith("drift\n  spend: ") and shifted.stderr == ""
    assert "-> 7," in shifted.stdout and "unseen what has changed" in shifted.stdout
    assert "2 columns have not changed clearly" in shifted.stdout and "visits" not in shifted.stdout
    assert "visits" in aetool("drift", shops / "bundle", "--data", shops / "shifted.csv", "--all").stdout
    document = json.loads(aetool("drift", shops / "bundle", "--data", shops / "shifted.csv", "--json").stdout)
    assert document["drifted"] and document["features"][0]["name"] == "spend"
    assert document["reasons"] and document["compared_with"].endswith("rows that it was trained on")


def test_few_rows_are_told_from_no_drift(aetool, shops, tmp_path):
    (tmp_path / "few.csv").write_text(shop(9, 1))
    few = aetool("drift", shops / "bundle", "--data", tmp_path / "few.csv")
    assert few.exit_code == 1 and few.stdout.startswith("too few rows to decide: 9, at least 30 are needed\n")
    assert "no drift" not in few.stdout and "stable" not in few.stdout
    assert json.loads(aetool("drift", shops / "bundle", "--data", tmp_path / "few.csv", "--json").stdout)[
        "too_few_rows"
    ]


def test_drift_leaves_labelled_anomalies_out(aetool, made):
    with_them = aetool("drift", made / "bundle", "--data", made / "train.csv", "--json")
    without = aetool("drift", made / "bundle", "--data", made / "train.csv", "--label", "broken", "--json")
    assert json.loads(with_them.stdout)["rows"] == 300 and json.loads(without.stdout)["rows"] == 270
    assert without.exit_code == 0


def test_what_drift_cannot_compare_fails_with_exit_code_1(fails, shops, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "columns are missing" in fails("drift", shops / "bundle", "--data", tmp_path / "other.csv")


@pytest.mark.parametrize("segments", [{"clusters": 2}, {"segments": [{}]}, {"segments": 3}])
def test_segments_changed_by_hand_are_told(fails, bundle, segments):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "segments": segments}))
    told = fails("segment", "show", bundle)
    assert "changed by hand" in told and "--overwrite" in told


def test_auto_shows_what_it_went_by_with_the_choice_marked(aetool, bundle, shops):
    made = aetool("segment", "learn", bundle, shops / "train.csv")
    document = json.loads(aetool("segment", "show", bundle, "--json").stdout)
    lines = [line.split() for line in made.stdout.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert [int(line[0]) for line in lines] == list(range(2, 11))
    (chosen,) = (line for line in lines if line[-1] == "chosen")
    assert int(chosen[0]) == document["clusters"]
    assert float(chosen[1]) == pytest.approx(max(document["silhouettes"].values()), abs=1e-3)


@pytest.mark.parametrize(
    ("clusters", "index", "silhouettes", "told"),
    [
        (3, 0.95, {2: 0.5, 3: 0.8}, ["3 is the most that was tried"]),
        (2, 0.95, {2: 0.8, 3: 0.5}, []),
        (2, 0.95, {2: 0.15, 3: 0.1}, ["a silhouette of 0.15 means that the segments overlap"]),
        (
            4,
            0.5,
            {2: 0.55, 3: 0.58, 4: 0.6, 5: 0.4},
            ["try --clusters 2 or 3, about as separate, or a model without"],
        ),
        (4, 0.5, {}, ["try fewer of them, or a model without columns that are bookkeeping"]),
        (2, 0.5, {}, ["for steadier segments try a model without columns"]),
        (2, 0.85, {}, []),
    ],
)
def test_advice_goes_by_the_edge_the_silhouette_and_the_stability(clusters, index, silhouettes, told):
    found = advice(clusters, index, silhouettes)
    assert len(found) == len(told) and all(part in line for part, line in zip(told, found, strict=True))
