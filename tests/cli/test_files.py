"""What train, export, verify, encode, reconstruct, score, evaluate and info read, write and refuse."""

import json
import shutil

import numpy as np
import pytest

from aetool import tables

HEADER = 'id,größe,weight,"colour, left",heat,broken\n'
FEATURES = ["größe", "weight", "colour, left", "heat"]


@pytest.fixture
def lines(made):
    return (made / "new.csv").read_text(encoding="utf-8").splitlines(keepends=True)


def rows_of(text):
    head, *rows = text.splitlines()
    return head, rows


# train


def test_train_chooses_everything_by_itself(aetool, made, work):
    result = aetool("train", made / "train.csv", "--label", "broken", "--drop", "id", "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert (work / "train-checkpoint" / "checkpoint.json").exists()
    assert "aetool export train-checkpoint" in result.stdout


def test_train_takes_architecture_and_columns_from_options(aetool, made, work):
    result = aetool(
        *("train", made / "train.csv", "--columns", 'größe,"colour, left"', "--columns", "heat"),
        *("--hidden-dims", "6,5", "--embedding-dim", 2, "--activation", "tanh", "--dropout", 0.1),
        *("--dropout-on", "both", "--batch-norm", "--input-noise", 0.1, "--epochs", 2, "--json"),
    )
    document = json.loads(result.stdout)
    assert document["features"] == ["größe", "colour, left", "heat"]
    found = document["architecture"]
    assert (found["hidden_dims"], found["embedding_dim"], found["activation"]) == ([6, 5], 2, "tanh")
    assert (found["dropout_on"], found["batch_norm"], found["dropout"]) == ("both", True, 0.1)


def test_train_without_label_learns_from_every_row(aetool, made, work):
    result = aetool("train", made / "train.csv", "--drop", "id,broken", "--epochs", 1, "--json")
    document = json.loads(result.stdout)
    assert document["rows_trained"] + document["rows_held_out"] == 300


def test_train_names_text_columns_and_both_remedies(fails, made, work):
    message = fails("train", made / "train.csv")
    assert "train.csv" in message and "'id'" in message and "--drop id" in message
    assert "--categorical" not in message  # nearly every row has its own


def test_train_counts_missing_values_and_imputes_when_told(aetool, fails, made, work, lines):
    lines[3] = "x,,1,2,3,0\n"
    (work / "holes.csv").write_text("".join(lines), encoding="utf-8")
    message = fails("train", "holes.csv", "--drop", "id", "--label", "broken")
    assert "größe" in message and "--impute" in message
    result = aetool(
        "train",
        "holes.csv",
        "--drop",
        "id",
        "--label",
        "broken",
        "--impute",
        "median",
        "--epochs",
        2,
        "-o",
        "filled",
    )
    assert result.exit_code == 0, result.output
    assert aetool("export", "filled", "-o", "filled-bundle").exit_code == 0
    scored = aetool("score", "filled-bundle", "holes.csv", "--json")
    assert scored.exit_code == 0 and "NaN" not in json.loads(scored.stdout)["data"]["score"]


def test_a_bad_cell_is_named_by_file_row_and_column(fails, work, lines):
    lines[3] = "x,1,oops,2,3,0\n"
    (work / "bad.csv").write_text("".join(lines), encoding="utf-8")
    message = fails("train", "bad.csv", "--drop", "id")
    assert "bad.csv: row 3, column 'weight'" in message and "oops" in message


def test_a_bad_encoding_is_an_error_that_names_the_file(fails, work, lines):
    text = "".join(lines).replace("größe", "размер")
    (work / "cyrillic.csv").write_bytes(text.encode("cp1251"))
    message = fails("train", "cyrillic.csv", "--drop", "id")
    assert "cyrillic.csv" in message and "UTF-8" in message and "--encoding cp1251" in message


@pytest.mark.parametrize("content", ["", HEADER, "a;b\n1;2\n"])
def test_a_table_without_rows_or_commas_is_refused(fails, work, content):
    (work / "odd.csv").write_text(content, encoding="utf-8")
    drop = ["--drop", "id"] if content == HEADER else []
    fails("train", "odd.csv", *drop)
    assert sorted(work.iterdir()) == [work / "odd.csv"]


def test_a_missing_file_and_an_unknown_column_are_one_line(fails, made, work):
    assert "nowhere.csv" in fails("train", "nowhere.csv")
    assert "'brken'" in fails("train", made / "train.csv", "--label", "brken", "--drop", "id")


def test_resume_goes_on_and_refuses_other_settings(aetool, made, work):
    again = ("train", made / "train.csv", "--label", "broken", "--drop", "id", "--resume", made / "checkpoint")
    result = aetool(*again, "--epochs", 23, "--patience", 50, "-o", "more", "--json")
    assert json.loads(result.stdout)["epochs"] == 23
    refused = aetool(*again, "--hidden-dims", "8", "-o", "other")
    assert refused.exit_code == 2 and "--hidden-dims" in refused.stderr


# what exists already, and what cannot be written


@pytest.mark.parametrize("kind", ["checkpoint", "bundle", "table", "demo"])
def test_an_output_that_exists_is_refused_before_any_work(fails, made, work, kind, monkeypatch):
    monkeypatch.setattr(tables, "read_table", None)  # work would fail otherwise than by one line
    monkeypatch.setattr("aetool.export.export_checkpoint", None)
    (work / "there.csv").mkdir() if kind != "table" else (work / "there.csv").write_text("mine")
    command = {
        "checkpoint": ("train", made / "train.csv"),
        "bundle": ("export", made / "checkpoint"),
        "table": ("score", made / "bundle", made / "new.csv"),
        "demo": ("demo",),
    }[kind]
    assert "--overwrite" in fails(*command, "-o", "there.csv")
    if kind == "table":
        assert (work / "there.csv").read_text() == "mine"


@pytest.mark.parametrize("kind", ["checkpoint", "bundle", "table", "demo"])
def test_a_file_for_a_parent_directory_is_one_line(fails, made, work, kind):
    (work / "file").write_text("")
    command = {
        "checkpoint": ("train", made / "train.csv", "--drop", "id"),
        "bundle": ("export", made / "checkpoint"),
        "table": ("score", made / "bundle", made / "new.csv"),
        "demo": ("demo",),
    }[kind]
    assert "file" in fails(*command, "-o", "file/below/out.csv")


def test_overwrite_replaces_and_new_directories_are_made(aetool, made, work):
    out = work / "deep" / "down" / "scores.csv"
    for _ in range(2):
        assert aetool("score", made / "bundle", made / "new.csv", "-o", out, "--overwrite").exit_code == 0
    place = work / "also" / "deep"
    for _ in range(2):
        assert aetool("export", made / "checkpoint", "-o", place, "--overwrite").exit_code == 0
    assert aetool("verify", place).exit_code == 0
    assert sorted(path.name for path in place.parent.iterdir()) == ["deep"]  # nothing half-written beside it


def test_overwrite_never_replaces_a_directory_of_another_kind(fails, made, work, monkeypatch):
    monkeypatch.setattr(tables, "read_table", None)  # told before any work
    monkeypatch.setattr("aetool.export.export_checkpoint", None)
    (work / "home").mkdir()
    (work / "home" / "thesis.txt").write_text("years of work")
    fails("train", made / "train.csv", "--drop", "id", "-o", "home", "--overwrite")
    fails("export", made / "checkpoint", "-o", "home", "--overwrite")
    fails("score", made / "bundle", made / "new.csv", "-o", "home", "--overwrite")
    assert (work / "home" / "thesis.txt").read_text() == "years of work"


def test_an_ending_that_tells_no_format_is_refused_before_any_work(fails, made, work, monkeypatch):
    monkeypatch.setattr(tables, "read_table", None)
    assert ".parquet" in fails("score", made / "bundle", made / "new.csv", "-o", "scores.xlsx")


# the wrong thing in place of a bundle or a checkpoint


@pytest.mark.parametrize("command", ["encode", "reconstruct", "score", "evaluate"])
def test_a_table_in_place_of_a_bundle_is_told(fails, made, command):
    message = fails(command, made / "new.csv", made / "new.csv")
    assert "a bundle is expected" in message and "found a file" in message and "aetool export" in message


def test_a_checkpoint_in_place_of_a_bundle_names_export(fails, made):
    message = fails("score", made / "checkpoint", made / "new.csv")
    assert "found a checkpoint" in message and f"aetool export {made / 'checkpoint'}" in message


def test_a_bundle_in_place_of_a_checkpoint_is_told(fails, made, work):
    assert "found a bundle" in fails("export", made / "bundle", "-o", "x")
    assert "found a bundle" in fails("train", made / "train.csv", "--resume", made / "bundle")
    assert "found a bundle" in fails("verify", made / "bundle", "--against", made / "bundle")


def test_a_file_of_a_bundle_or_a_checkpoint_names_its_directory(fails, made):
    assert f"give its directory, {made / 'bundle'}" in fails("info", made / "bundle" / "encoder.onnx")
    assert f"give its directory, {made / 'checkpoint'}" in fails("export", made / "checkpoint" / "checkpoint.json")


def test_empty_and_other_directories_and_nothing_are_told(fails, made, work):
    (work / "empty").mkdir()
    assert "an empty directory" in fails("info", "empty")
    assert "another directory" in fails("verify", made)
    (work / "project" / "reports").mkdir(parents=True)
    assert "another directory" in fails("info", "project")
    assert "found nothing" in fails("export", "nowhere")


def test_a_damaged_bundle_is_one_line_that_names_the_file(fails, made, work):
    shutil.copytree(made / "bundle", work / "damaged")
    weights = bytearray((work / "damaged" / "detector.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (work / "damaged" / "detector.onnx").write_bytes(weights)
    assert "detector.onnx" in fails("score", "damaged", made / "new.csv")
    assert "detector.onnx" in fails("verify", "damaged")


# encode, reconstruct, score


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        ("encode", [f"embedding_{i}" for i in range(16)]),
        ("reconstruct", FEATURES),
        ("score", ["score", "is_anomaly"]),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz", ".npy"])
def test_every_format_by_its_ending(aetool, made, work, command, columns, ending):
    out = work / f"out{ending}"
    keep = () if ending == ".npy" else ("--keep", "id")
    result = aetool(command, made / "bundle", made / "new.csv", *keep, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["columns"] == [*(["id"] if keep else []), *columns]
    if ending == ".npy":
        assert np.load(out).shape == (40, len(columns))
        return
    written = tables.read_table(out, keep=["id"])
    assert list(written.names) == columns and written.kept["id"][0] == "m0000" and len(written) == 40


def test_without_output_csv_goes_to_stdout(aetool, made):
    result = aetool("score", made / "bundle", made / "new.csv", "--keep", "id,broken")
    head, rows = rows_of(result.stdout)
    assert head == "id,broken,score,is_anomaly" and len(rows) == 40 and "m0000" in rows[0]
    assert result.stderr == ""


def test_order_of_columns_and_extra_ones_change_nothing(aetool, made, work):
    table = tables.read_table(made / "new.csv", drop=["id"])
    columns = dict(zip(table.names, table.values.T, strict=True))
    shuffled = {"extra": columns["heat"] * 0, **{name: columns[name] for name in reversed(columns)}}
    tables.write_table(work / "shuffled.csv", shuffled)
    for command in ("encode", "reconstruct", "score"):
        plain = aetool(command, made / "bundle", made / "new.csv").stdout
        assert aetool(command, made / "bundle", "shuffled.csv").stdout == plain


@pytest.mark.parametrize("command", ["encode", "reconstruct", "score"])
def test_no_rows_give_an_empty_table(aetool, made, work, command):
    (work / "none.csv").write_text(HEADER, encoding="utf-8")
    result = aetool(command, made / "bundle", "none.csv")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1


def test_a_missing_value_scores_nan_is_flagged_and_harms_no_neighbour(aetool, made, work, lines):
    whole = aetool("score", made / "bundle", made / "new.csv", "--json")
    lines[2] = "x,,1,2,3,0\n"
    (work / "holes.csv").write_text("".join(lines), encoding="utf-8")
    result = aetool("score", made / "bundle", "holes.csv", "--json")
    data = json.loads(result.stdout)["data"]
    assert data["score"][1] == "NaN" and data["is_anomaly"][1] is True
    expected = json.loads(whole.stdout)["data"]["score"]
    assert data["score"][:1] + data["score"][2:] == expected[:1] + expected[2:]
    assert "1 of 40 rows" in result.stderr


def test_missing_columns_are_all_listed(fails, work, made):
    (work / "few.csv").write_text("größe,heat\n1,2\n", encoding="utf-8")
    message = fails("score", made / "bundle", "few.csv")
    assert "few.csv" in message and "'weight'" in message and "'colour, left'" in message


def test_a_kept_column_does_not_hide_a_result(fails, made):
    assert "'heat'" in fails("reconstruct", made / "bundle", made / "new.csv", "--keep", "heat")


def test_cuda_without_a_gpu_is_one_line(fails, made, monkeypatch):
    monkeypatch.setattr("aetool.runtime.providers.cuda_devices", lambda: 0)
    for command in (("score", made / "bundle", made / "new.csv"), ("verify", made / "bundle")):
        assert "cuda" in fails(*command, "--provider", "cuda")


def test_an_unknown_precision_lists_those_there_are(fails, made):
    assert "fp32" in fails("score", made / "bundle", made / "new.csv", "--precision", "fp12")


# export, verify, evaluate, info


def test_export_names_the_bundle_after_the_checkpoint(aetool, made, work):
    shutil.copytree(made / "checkpoint", work / "pumps-checkpoint")
    result = aetool("export", "pumps-checkpoint", "--threshold", 0.5)
    assert result.exit_code == 0, result.output
    assert "aetool score exported/pumps DATA" in result.stdout
    assert json.loads(aetool("info", "exported/pumps", "--json").stdout)["variants"]["fp32"]["threshold"] == 0.5


def test_export_takes_one_rule_for_the_threshold(aetool, made, work):
    result = aetool("export", made / "checkpoint", "-o", "x", "--threshold", 1, "--contamination", 0.1)
    assert result.exit_code == 2 and "one of them" in result.stderr


def test_verify_compares_with_data_and_checkpoint(aetool, made):
    options = ("--against", made / "checkpoint", "--data", made / "new.csv")
    document = json.loads(aetool("verify", made / "bundle", *options, "--json").stdout)
    assert document["passed"] and len({record["rows"] for record in document["parity"]}) >= 3
    assert all(record["passed"] for record in document["parity"])


def test_verify_fails_with_a_table_a_reason_and_exit_code_1(aetool, made, work):
    other = aetool(
        "train", made / "train.csv", "--label", "broken", "--drop", "id", "--epochs", 2, "--seed", 7, "-o", "other"
    )
    assert other.exit_code == 0
    result = aetool("verify", made / "bundle", "--against", "other")
    assert result.exit_code == 1 and "FAILED" in result.stdout and "bad" in result.stdout
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    document = json.loads(aetool("verify", made / "bundle", "--against", "other", "--json").stdout)
    assert document["passed"] is False


def test_evaluate_agrees_for_checkpoint_and_bundle(aetool, made):
    data = (made / "new.csv", "--label", "broken", "--json")
    bundle, checkpoint = (
        json.loads(aetool("evaluate", made / kind, *data).stdout) for kind in ("bundle", "checkpoint")
    )
    assert bundle["auroc"] == pytest.approx(checkpoint["auroc"], abs=1e-4)
    assert bundle["anomalies"] == 10 and "recall" in bundle and "recall" not in checkpoint


def test_evaluate_without_labels_gives_errors_alone(aetool, made):
    document = json.loads(aetool("evaluate", made / "bundle", made / "new.csv", "--json").stdout)
    assert document["rows"] == 40 and "auroc" not in document


def test_info_tells_bundles_and_checkpoints_apart(aetool, made):
    bundle, checkpoint = (
        json.loads(aetool("info", made / kind, "--json").stdout) for kind in ("bundle", "checkpoint")
    )
    assert bundle["kind"] == "bundle" and [feature["name"] for feature in bundle["features"]] == FEATURES
    assert checkpoint["kind"] == "checkpoint" and checkpoint["features"] == FEATURES
    assert (
        "größe" in aetool("info", made / "bundle").stdout and "größe" in aetool("info", made / "checkpoint").stdout
    )


# the environment


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "scores.csv"), "scores.csv: No space left on device"),
        (MemoryError(), "not enough memory"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_a_failure_of_the_machine_is_one_line_too(fails, made, monkeypatch, error, said):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("aetool.load", broken)
    assert said in fails("score", made / "bundle", made / "new.csv")


def test_a_fault_of_aetool_itself_keeps_its_traceback(aetool, made, monkeypatch):
    monkeypatch.setattr("aetool.load", lambda *_, **__: 1 / 0)
    assert isinstance(aetool("score", made / "bundle", made / "new.csv").exception, ZeroDivisionError)


def test_more_reasons_than_features_are_told_to_be_too_many_and_a_word_is_no_integer(aetool, made):
    score = ("score", made / "bundle", made / "new.csv", "--explain")
    told = aetool(*score, 99)
    assert told.exit_code == 0 and "why_4_found" in told.stdout and "why_5" not in told.stdout
    assert told.stderr == "--explain 99: the model has only 4 features; all are named\n"
    assert aetool(*score, 4).stderr == ""
    for wrong, reason in (("x", "'x' is not a valid integer."), ("0", "0 is not in the range x>=1.")):
        refused = aetool(*score, wrong)
        assert refused.exit_code == 2 and refused.stderr.splitlines()[0].endswith(reason)


def test_a_feature_as_label_is_told_to_be_a_feature(fails, made):
    for command in (
        ("evaluate", made / "bundle", made / "new.csv"),
        ("report", made / "bundle", "--data", made / "new.csv"),
    ):
        assert "'heat' is a feature of this model and cannot be the label" in fails(*command, "--label", "heat")


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (("train", "{data}", "-o", "taken"), "none.csv"),
        (("train", "train.csv", "--label", "{column}", "-o", "taken"), "nope"),
        (("report", "bundle", "--data", "{data}", "-o", "taken.html"), "none.csv"),
        (("report", "bundle", "--data", "new.csv", "--label", "{column}", "-o", "taken.html"), "nope"),
        (("report", "{data}", "-o", "taken.html"), "none.csv"),
        (("score", "bundle", "{data}", "-o", "taken.csv"), "none.csv"),
        (("score", "bundle", "new.csv", "--keep", "{column}", "-o", "taken.csv"), "nope"),
        (("bench", "bundle", "--data", "{data}", "-o", "taken.json"), "none.csv"),
        (("adopt", "net.onnx", "--data", "{data}", "-o", "taken"), "none.csv"),
        (("export", "--module", "net.py:Net", "--data", "new.csv", "--label", "{column}", "-o", "taken"), "nope"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_input_is_told_before_an_output_that_is_there(fails, made, work, command, wrong):
    for name in ("bundle", "train.csv", "new.csv"):
        (work / name).symlink_to(made / name)
    (work / "taken").mkdir()
    for ending in ("html", "csv", "svg", "json"):
        (work / f"taken.{ending}").touch()
    line = fails(*(word.format(data=wrong, column=wrong) for word in command))
    assert wrong in line and "taken" not in line


def test_export_tells_in_few_lines_what_was_proven_and_all_of_it_when_asked(aetool, made, work):
    export = ("export", made / "checkpoint", "-o", "mine", "--overwrite")
    short, long = aetool(*export).stdout, aetool(*export, "--verbose").stdout
    assert [line.split()[0] for line in short.splitlines()] == ["bundle", "files", "threshold", "proven", "next"]
    with np.load(work / "mine" / "golden.npz") as golden:
        rows = len(golden["features"])
    assert f"equal to PyTorch in float64 on {rows} real rows" in short and ", 0 decisions flipped" in short
    assert long.endswith(short) and f"on {rows} golden rows" in long
    compared = [line.split()[:2] for line in long.splitlines()]
    assert ["detector", "is_anomaly"] in compared and ["not", "finite"] in compared


def test_info_tells_of_a_bundle_s_training_what_it_tells_of_the_checkpoint_s(aetool, made):
    of_bundle, of_checkpoint = (
        dict(
            line.split(maxsplit=1)
            for line in aetool("info", made / name, "--all").stdout.splitlines()
            if " " in line
        )
        for name in ("bundle", "checkpoint")
    )
    assert of_bundle["epochs"] == of_checkpoint["epochs"] and of_bundle["epochs"].startswith("20, best validation")
    assert "history" not in of_bundle["provenance"] and "rows trained" in of_bundle["provenance"]
