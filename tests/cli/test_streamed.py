"""score, encode and reconstruct with a directory as output: options, what is told, exit codes."""

import json

import pyarrow.parquet as pq
import pytest

HEADER = 'id,größe,weight,"colour, left",heat,broken\n'


@pytest.fixture
def files(made, work):
    (work / "in").mkdir()
    lines = (made / "new.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (work / "in" / "a.csv").write_text("".join(lines), encoding="utf-8")
    (work / "in" / "b.csv").write_text("".join(lines[:11]), encoding="utf-8")
    return work / "in"


@pytest.mark.parametrize("data", [("in",), ("in/*.csv",), ("in/a.csv", "in/b.csv")])
def test_many_files_go_into_a_directory(aetool, made, files, work, data):
    whole = json.loads(aetool("score", made / "bundle", "in/a.csv", "--json").stdout)
    result = aetool("score", made / "bundle", *data, "-o", "out", "--keep", "id", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["rows"], document["files"], document["failed"]) == (50, 2, [])
    assert document["threshold"] == whole["threshold"] and document["anomalies"] >= whole["anomalies"]
    found = pq.read_table("out/a.csv.parquet")
    assert found.column_names == ["id", "score", "is_anomaly"] and found["id"][0].as_py() == "m0000"
    assert found["score"].to_numpy().tolist() == pytest.approx(whole["data"]["score"], rel=1e-7)


@pytest.mark.parametrize("command", ["encode", "reconstruct", "score"])
def test_a_person_is_told_the_output_and_the_rows(aetool, made, files, command):
    result = aetool(command, made / "bundle", "in", "-o", "out/")
    assert result.exit_code == 0 and result.stderr == ""
    assert "50 of 2 files" in result.stdout and ("anomalies" in result.stdout) == (command == "score")


def test_reasons_go_into_one_file(aetool, made, files):
    result = aetool("score", made / "bundle", "in", "-o", "out", "--explain", "2")
    assert result.exit_code == 2 and "--explain goes with one file" in result.stderr


def test_resume_and_overwrite(aetool, fails, made, files):
    again = ("score", made / "bundle", "in", "-o", "out")
    assert aetool(*again).exit_code == 0
    assert "--resume or --overwrite" in fails(*again)
    assert "2 files were there already" in aetool(*again, "--resume").stdout
    assert json.loads(aetool(*again, "--overwrite", "--json").stdout)["resumed"] == 0
    assert aetool(*again, "--overwrite", "--resume").exit_code == 2


def test_bad_files_stop_or_are_listed_with_exit_code_1(aetool, fails, made, files):
    (files / "c.csv").write_text(HEADER + "x,oops,1,2,3,0\n", encoding="utf-8")
    assert "c.csv" in fails("score", made / "bundle", "in", "-o", "out")
    result = aetool("score", made / "bundle", "in", "-o", "out", "--resume", "--on-error", "skip")
    assert result.exit_code == 1 and "50 of 2 files" in result.stdout
    assert "c.csv" in result.stderr and "oops" in result.stderr and "1 of 3 files" in result.stderr
    result = aetool("score", made / "bundle", "in", "-o", "out", "--resume", "--on-error", "skip", "--json")
    (failed,) = json.loads(result.stdout)["failed"]
    assert failed["input"].endswith("c.csv") and "oops" in failed["error"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("in",), "-o DIRECTORY"),
        (("in", "-o", "out.csv"), "without an ending"),
        (("in/a.csv", "in/b.csv"), "-o DIRECTORY"),
        (("in/a.csv", "--resume"), "--resume is for streaming"),
        (("in/a.csv", "-o", "out.csv", "--on-error", "skip"), "--on-error is for streaming"),
        (("in", "-o", "out", "--address", "auto"), "--engine ray"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(aetool, made, files, arguments, told):
    result = aetool("score", made / "bundle", *arguments)
    assert result.exit_code == 2 and told in result.stderr and result.stdout == ""


def test_one_file_into_a_directory_streams_too(aetool, made, files, work):
    assert aetool("encode", made / "bundle", "in/a.csv", "-o", "out").exit_code == 0
    assert pq.read_table("out/a.csv.parquet").num_columns == 16


def test_without_ray_the_extra_is_named(process, made, files, work):
    code = "import sys; sys.modules['ray'] = None"
    failed = process("score", made / "bundle", "in", "-o", "out", "--engine", "ray", code=code, cwd=work)
    assert failed.returncode == 1 and "with the extra 'ray'" in failed.stderr and failed.stderr.count("\n") == 1
