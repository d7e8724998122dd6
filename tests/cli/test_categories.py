"""A mixed table from its raw CSV to scores, on the command line."""

import csv
import io
import json
import math

import numpy as np
import pytest


def lines(rows, seed=0):
    """Lines of CSV without the header: a name, a job, a number that goes with it, a region's code."""
    random = np.random.default_rng(seed)
    for i in range(rows):
        job = int(random.integers(0, 3))
        yield f"m{i:03},{('cook', 'diver', 'guard, night')[job]},{job + random.normal(0, 0.1):.5f},{10 * job}"


def write(path, rows, header="id,job,size,region"):
    text = io.StringIO()
    csv.writer(text).writerows([next(csv.reader([header])), *rows])
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def cells(rows, seed=0):
    for line in lines(rows, seed):
        name, rest = line.split(",", 1)
        job, size, region = rest.rsplit(",", 2)
        yield [name, job, size, region]


@pytest.fixture(scope="module")
def mixed_files(tmp_path_factory):
    """A directory with a table, its checkpoint and its bundle: nobody writes into it."""
    import click.testing

    from aetool.cli import main

    folder = tmp_path_factory.mktemp("categories")
    data = write(folder / "train.csv", cells(200))
    for arguments in (
        [
            "train",
            data,
            "--categorical",
            "auto,region",
            "--drop",
            "id",
            "--epochs",
            "40",
            "--batch-size",
            "16",
            "-o",
            folder / "ck",
        ],
        ["export", folder / "ck", "-o", folder / "b"],
    ):
        result = click.testing.CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
    return folder


def table_of(result):
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_scores_do_not_depend_on_the_order_of_columns(aetool, mixed_files, work):
    plain = table_of(aetool("score", mixed_files / "b", mixed_files / "train.csv"))
    turned = write(work / "turned.csv", ([*row[::-1], "x"] for row in cells(200)), "region,size,job,id,more")
    assert table_of(aetool("score", mixed_files / "b", turned)) == plain
    assert len(plain) == 200


def test_unseen_and_missing_categories_score_finite(aetool, mixed_files, work):
    odd = write(
        work / "odd.csv", [["a", "pilot", "1.0", "10"], ["b", "", "1.0", "10"], ["c", "diver", "1.0", "77"]]
    )
    found = table_of(aetool("score", mixed_files / "b", odd))
    assert all(math.isfinite(float(row["score"])) for row in found)
    usual = write(work / "usual.csv", [["d", " diver", "1.0", "10.0"]])
    (spelt_otherwise,) = table_of(aetool("score", mixed_files / "b", usual))
    assert float(found[0]["score"]) > float(spelt_otherwise["score"])


def test_categories_that_the_model_does_not_know_are_told_and_stand_in_the_explanation(aetool, mixed_files, work):
    odd = [["a", "pilot", "1.0", "10"], ["b", "", "1.0", "10"], ["c", "pilot", "1.0", "77"]]
    done = aetool("score", mixed_files / "b", write(work / "odd.csv", odd), "--explain", 3)
    assert done.stderr.splitlines() == [
        "2 of 3 rows: job has values unknown to the model ('pilot')",
        "1 of 3 rows: region has values unknown to the model ('77')",
    ]
    found = [{row[f"why_{i}"]: row[f"why_{i}_found"] for i in (1, 2, 3)} for row in table_of(done)]
    assert [row["job"] for row in found] == ["pilot", "", "pilot"]
    assert [row["region"] for row in found] == ["10", "10", "77"] and found[0]["size"] == "1.0"
    kinds = [["x", f"kind {i}", "1.0", "10"] for i in range(7) for _ in range(i + 1)]
    told = aetool("encode", mixed_files / "b", write(work / "kinds.csv", kinds)).stderr
    assert told.startswith("28 of 28 rows: job has") and told.endswith(
        "('kind 6', 'kind 5', 'kind 4', 'kind 3', 'kind 2' and 2 more)\n"
    )


def test_reconstruct_writes_names_that_read_back(aetool, mixed_files, work):
    found = table_of(aetool("reconstruct", mixed_files / "b", mixed_files / "train.csv"))
    right = [row["job"] == given[1] for row, given in zip(found, cells(200), strict=True)]
    assert np.mean(right) > 0.95 and {row["region"] for row in found} <= {"0", "10", "20"}
    for name in ("out.csv", "out.parquet", "out.npz"):
        assert aetool("reconstruct", mixed_files / "b", mixed_files / "train.csv", "-o", name).exit_code == 0
        assert len(table_of(aetool("score", mixed_files / "b", name))) == 200


def test_every_command_takes_the_raw_table(aetool, mixed_files, work):
    bundle, checkpoint, data = mixed_files / "b", mixed_files / "ck", mixed_files / "train.csv"
    assert aetool("encode", bundle, data).exit_code == 0
    verified = aetool("verify", bundle, "--against", checkpoint, "--data", data)
    assert verified.exit_code == 0, verified.output
    for model in (bundle, checkpoint):
        found = json.loads(aetool("evaluate", model, data, "--json").stdout)
        assert found["category_accuracy"] > 0.9 and found["reconstruction_rmse"] < 1


def test_train_names_columns_that_look_like_codes_once(aetool, work):
    rows = [
        [i % 2, i % 3 + 1, min(i % 2 + (i == 7) * 2 + (i == 8), 3), i % 3 * 10, i % 3 + 0.5, i % 7 - 1, i % 4]
        for i in range(400)
    ]
    data = write(work / "codes.csv", rows, "flag,region,children,tens,halves,from_minus_1,channel of mine")
    told = "region, channel of mine: few different whole numbers; if they are codes: "
    done = aetool("train", data, "--epochs", 1, "-o", "first")
    assert done.exit_code == 0 and done.stderr.endswith(f"{told}--categorical 'region,channel of mine'\n")
    silent = aetool("train", data, "--categorical", "region,channel of mine", "--epochs", 1, "-o", "second")
    assert silent.exit_code == 0 and "codes" not in silent.stderr


def test_info_tells_the_categories(aetool, mixed_files):
    for model in ("b", "ck"):
        assert "2: job (3), region (3)" in aetool("info", mixed_files / model).stdout
    document = json.loads(aetool("info", mixed_files / "ck", "--json").stdout)
    assert document["categories"] == {"job": ["cook", "diver", "guard, night"], "region": ["0", "10", "20"]}
    document = json.loads(aetool("info", mixed_files / "b", "--json").stdout)
    assert document["features"][0]["categories"] == ["cook", "diver", "guard, night"]


def test_train_names_the_remedy_for_text(fails, aetool, mixed_files, work):
    line = fails("train", mixed_files / "train.csv", "--drop", "id")
    assert "'job' (text)" in line and "--drop job" in line and "--categorical job" in line
    assert "nearest: 'job'" in fails("train", mixed_files / "train.csv", "--categorical", "jop")
    done = aetool("train", mixed_files / "train.csv", "--drop", "id", "--categorical", "job", "--epochs", 1)
    assert done.exit_code == 0, done.output


def test_text_where_the_model_knows_numbers_is_refused_without_options_that_score_lacks(fails, mixed_files, work):
    text = write(work / "text.csv", [["a", "cook", "small", "10"]])
    line = fails("score", mixed_files / "b", text)
    assert (
        "row 1, column 'size': 'small' is not a number" in line
        and "--categorical" not in line
        and "--drop" not in line
    )


def test_training_resumes_with_the_same_options(aetool, mixed_files, work):
    options = ["--categorical", "auto,region", "--drop", "id", "--epochs", "41", "--patience", "40"]
    done = aetool("train", mixed_files / "train.csv", *options, "--resume", mixed_files / "ck", "-o", "more")
    assert done.exit_code == 0, done.output
