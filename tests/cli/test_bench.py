"""aetool bench and aetool bench compare."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aetool.bench import grid, run
from aetool.bench.result import Ceiling, document_of, read_result, write_document

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"
QUICK = ("--graph", "encode", "--rounds", 2, "--launches", 1, "--seconds", 0.02, "--offline-rows", 2048)


@pytest.fixture(autouse=True)
def no_ceiling(monkeypatch):
    monkeypatch.setattr(run, "ceiling", lambda: Ceiling({"1": 50.0, "2": 100.0}, 20.0))


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """One result for all tests; they must not change it."""
    path = tmp_path_factory.mktemp("results") / "result.json"
    settled = grid.plan(
        EXPORTED, grid.Grid(graphs=("encode",), rounds=2, launches=1, seconds=0.02, batches=(1, 8))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "ceiling", lambda: Ceiling({"1": 50.0, "2": 100.0}, 20.0))
        write_document(document_of(run.run(settled)), path)
    return path


def test_it_shows_what_was_measured_and_writes_it(aetool, tmp_path):
    path = tmp_path / "result.json"
    shown = aetool("bench", EXPORTED, *QUICK, "--batch", "1,16", "--seed", 3, "-o", path)
    assert shown.exit_code == 0
    for line in ("encode, single-stream, 16 rows\n", "encode, offline, 2,048 rows\n"):
        assert line in shown.stdout
    assert re.search(r"raw-onnxruntime +[\d.]+ us", shown.stdout) and "compared with PyTorch" in shown.stdout
    found = read_result(path)
    assert found.parameters["seed"] == 3 and found.command[0] == "aetool"
    assert [(one.contestant, one.batch) for one in found.results][:2] == [("aetool", 1), ("raw-onnxruntime", 1)]


def test_with_json_stdout_is_the_document(aetool):
    done = aetool("bench", EXPORTED, *QUICK, "--scenario", "single-stream", "--peers", "none", "--json")
    document = json.loads(done.stdout)
    assert document["kind"] == "aetool.bench" and document["ratios"] == []
    assert {row["contestant"] for row in document["results"]} == {"aetool"}


def test_rows_of_a_table_are_measured_with(aetool, tmp_path):
    data = EXPORTED.parent / "samples.csv"
    done = aetool("bench", EXPORTED, *QUICK, "--scenario", "single-stream", "--data", data, "--json")
    assert done.exit_code == 0, done.output
    assert "rows of samples.csv, drawn again" in json.loads(done.stdout)["parameters"]["rows"]


def test_a_result_becomes_a_page(aetool, once, tmp_path):
    page = tmp_path / "page.html"
    done = aetool("report", once, "-o", page)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert "How fast is breast-cancer?" in text and "matrix peak, 2 threads" in text


def test_two_results_are_compared(aetool, once):
    done = aetool("bench", "compare", once, once)
    assert done.exit_code == 0 and "verdict  6 can't tell" in done.stdout
    document = json.loads(aetool("bench", "compare", once, once, "--json").stdout)
    assert {verdict["verdict"] for verdict in document["verdicts"]} == {"can't tell"}


def test_a_result_of_another_machine_is_refused(fails, aetool, once, tmp_path):
    content = json.loads(once.read_text())
    content["machine"]["cpu"] = "Another"
    (other := tmp_path / "other.json").write_text(json.dumps(content))
    assert "--different-machines" in fails("bench", "compare", once, other)
    done = aetool("bench", "compare", once, other, "--different-machines")
    assert done.exit_code == 0 and "and Another" in done.stdout


def test_a_foreign_file_is_refused(fails, once):
    assert "give a file that aetool bench wrote" in fails("bench", "compare", once, EXPORTED / "manifest.json")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--peers", "torch"), "--against CHECKPOINT"),
        (("--peers", "tflite"), "choose raw-onnxruntime, torch, torch-compile, openvino"),
        (("--graph", "decode"), "choose encode, reconstruct, score"),
        (("--batch", "0"), "batch: 1 or more"),
        (("--precision", "int4"), "no precision 'int4'"),
        (("--against", EXPORTED), "a checkpoint is expected"),
        (("-o", EXPORTED), "exists already"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(fails, monkeypatch, options, named):
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("measured"))
    assert named in fails("bench", EXPORTED, *options)


def test_a_bundle_may_be_called_compare(aetool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compare").symlink_to(EXPORTED)
    done = aetool("bench", "./compare", *QUICK, "--scenario", "single-stream", "--json")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "compare "),
        (("compar", "before.json", "after.json"), "'compare'"),
        (("exported/none",), "a bundle is expected"),
        (("--rounds", "2", "exported/none"), "a bundle is expected"),
        (("run", "exported/none"), "a bundle is expected"),
    ],
)
def test_a_bundle_alone_is_measured_and_a_mistyped_command_is_told(aetool, words, told):
    done = aetool("bench", *words)
    assert done.exit_code in (1, 2) and told in done.stderr


def test_ctrl_c_ends_it_and_every_process_of_it(environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", "bench", str(EXPORTED), "--seconds", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    deadline = time.monotonic() + 60
    while not (children := children_of(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr.strip()) == (130, b"", b"Interrupted.")
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, PermissionError):
        return []


def test_nothing_but_the_result_is_shown_where_nobody_looks(process):
    code = (
        "from aetool.bench import run\nfrom aetool.bench._machine import Ceiling\n"
        "run.ceiling = lambda: Ceiling({'1': 50.0}, 20.0)"
    )
    done = process("bench", EXPORTED, *QUICK, "--scenario", "single-stream", code=code)
    assert done.returncode == 0
    assert done.stderr == "" or done.stderr.startswith("The machine was noisy")
    assert "\x1b" not in done.stdout and os.linesep in done.stdout
