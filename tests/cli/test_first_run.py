"""A bundle that crashes onnxruntime ends a child process, not the command."""

import json

import pytest

CRASH = (
    "import os, signal, sys; sys.stdout.write('detector in fp32\\n'); sys.stdout.flush(); os.kill(os.getpid(), 11)"
)


@pytest.mark.apart
@pytest.mark.parametrize(
    "command", [("verify",), ("quantize", "--data", "new.csv", "--label", "broken"), ("tune", "--for", "latency")]
)
def test_a_graph_that_crashes_is_named_in_one_line(aetool, made, command, tmp_path, monkeypatch):
    (tmp_path / "crash.py").write_text(CRASH, encoding="utf-8")
    monkeypatch.setattr("aetool.checks.first_run._PROGRAM", tmp_path / "crash.py")
    options = [made / part if part == "new.csv" else part for part in command[1:]]
    result = aetool(command[0], made / "bundle", *options)
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert (
        line.startswith("Error: ")
        and "detector in fp32 crashed (SIGSEGV) in onnxruntime; update onnxruntime" in line
    )


@pytest.mark.apart
def test_a_bundle_that_runs_is_verified_after_its_first_run(aetool, made):
    result = aetool("verify", made / "bundle", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["passed"]
