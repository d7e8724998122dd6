"""The command line as a process of its own: exit codes, streams, signals, start-up, missing packages."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

TRAIN = ("--label", "broken", "--drop", "id")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@contextlib.contextmanager
def on_a_terminal(arguments, env, *, columns=80, stdout_too=True):
    """`aetool` with stderr, and stdout if asked for, on a terminal; gives the process and a reader of it."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", *map(str, arguments)],
        stdout=follower if stdout_too else subprocess.PIPE,
        stderr=follower,
        env={**env, "COLUMNS": str(columns)},
    )
    os.close(follower)

    def read(until=None):
        shown = b""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (until is None or until not in shown):
            if not select.select([leader], [], [], 1)[0]:
                continue
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            shown += part
        return shown.decode()

    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(leader)
        if process.stdout:
            process.stdout.close()


# exit codes and streams


def test_done_is_0_on_stdout_alone(process, made):
    done = process("info", made / "bundle")
    assert (done.returncode, done.stderr) == (0, "") and "threshold" in done.stdout


def test_failed_is_1_and_one_line_on_stderr_alone(process):
    failed = process("info", "nowhere")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: nowhere: ") and failed.stderr.count("\n") == 1


def test_a_wrong_command_line_is_2(process):
    wrong = process("info")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "Traceback" not in wrong.stderr


def test_alone_in_an_empty_directory_it_shows_how_to_start(process, tmp_path):
    alone = process(cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "aetool demo" in alone.stdout and "aetool train" in alone.stdout


def test_version(process):
    assert re.fullmatch(r"aetool, version \d+\.\d+\.\d+\n", process("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [(("info", "nowhere"), 1, "BundleError"), (("info",), 2, "MissingParameter"), (("inof",), 2, "NoSuchCommand")],
)
def test_a_failure_with_json_is_one_document_too(process, arguments, code, kind):
    failed = process(*arguments, "--json")
    document = json.loads(failed.stdout)
    assert failed.returncode == code and document["error"] and kind in document["type"]


def test_prints_of_libraries_never_reach_the_document(process, made):
    noisy = """if True:
        import atexit, ctypes, os, sys, aetool
        load = aetool.load
        def loud(*arguments, **options):
            print("from Python")
            sys.__stdout__.write("from a saved stream")
            os.write(1, b"from a descriptor")
            ctypes.CDLL(None).printf(b"from C, buffered")
            return load(*arguments, **options)
        aetool.load = loud"""
    done = process("score", made / "bundle", made / "new.csv", "--json", code=noisy)
    assert len(json.loads(done.stdout)["data"]["score"]) == 40
    for said in ("from Python", "from a saved stream", "from a descriptor", "from C, buffered"):
        assert said in done.stderr
    table = process("score", made / "bundle", made / "new.csv", code=noisy)
    assert table.stdout.startswith('"score"') or table.stdout.startswith("score,")


def test_no_escape_codes_and_no_spaces_at_line_ends_in_a_pipe(process, made):
    for arguments in (("info", made / "bundle"), ("verify", made / "bundle"), ("doctor",)):
        shown = process(*arguments).stdout
        assert "\x1b" not in shown and not re.search(r" $", shown, re.MULTILINE)


def test_colour_on_a_terminal_unless_no_color_is_set(environment, made):
    with on_a_terminal(("verify", made / "bundle"), environment) as (_, read):
        assert ESCAPE.search(read())
    with on_a_terminal(("verify", made / "bundle"), {**environment, "NO_COLOR": "1"}) as (_, read):
        assert not ESCAPE.search(read())


def test_tables_fit_80_columns_with_every_word_whole(environment, made):
    arguments = "verify", made / "bundle", "--data", made / "new.csv", "--verbose", "--provider", "cpu"
    with on_a_terminal(arguments, environment) as (_, read):
        lines = [ESCAPE.sub("", line).rstrip() for line in read().splitlines()]
    assert max(map(len, lines)) <= 80
    assert sum("reconstruction" in line and line.endswith("ok") for line in lines) == 6
    assert sum("rank 1.000000 ok" in line for line in lines) == 2


def test_a_name_that_the_terminal_cannot_show_stops_nothing(process, made):
    done = process("info", made / "bundle", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and re.search(r"gr\?+e", done.stdout)


def test_a_reader_that_has_seen_enough_ends_it_quietly(made, environment, tmp_path):
    head, *rows = (made / "new.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "long.csv").write_text(head + "".join(rows) * 2000, encoding="utf-8")  # more than a pipe holds
    command = f"'{sys.executable}' -m aetool score '{made / 'bundle'}' '{tmp_path / 'long.csv'}' | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.count("\n") == 1 and "is_anomaly" in done.stdout
    assert done.stderr == ""


# Ctrl-C


def test_ctrl_c_keeps_a_checkpoint_that_exports_and_resumes(aetool, made, environment, tmp_path):
    place = tmp_path / "checkpoint"
    endless = ("--epochs", 1_000_000, "--patience", 1_000_000)
    arguments = ("train", made / "train.csv", *TRAIN, *endless, "-o", place, "--json")
    with on_a_terminal(arguments, environment, stdout_too=False) as (training, read):
        assert "epoch" in read(until=b"epoch ")
        training.send_signal(signal.SIGINT)
        rest = read()
        document = json.loads(training.stdout.read())
        assert training.wait(60) == 130
    assert "Interrupted" in rest and "--resume" in rest and "Traceback" not in rest
    assert document["interrupted"] is True and document["epochs"] >= 1
    assert aetool("export", place, "-o", tmp_path / "bundle").exit_code == 0
    more = ("--resume", place, "--overwrite", "--epochs", document["epochs"] + 3, "--json")
    resumed = aetool("train", made / "train.csv", *TRAIN, *more, "-o", place)
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["epochs"] == document["epochs"] + 3


def test_ctrl_c_before_the_first_epoch_writes_nothing(process, made, tmp_path):
    early = """if True:
        import os, signal, time
        from aetool import model
        def train(*_, **__):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        model.train = train"""
    stopped = process("train", made / "train.csv", *TRAIN, "-o", "checkpoint", code=early, cwd=tmp_path)
    assert stopped.returncode == 130 and stopped.stdout == ""
    assert stopped.stderr.strip().endswith("Interrupted.")
    assert list(tmp_path.iterdir()) == []


# start-up, and packages that are missing


def test_the_command_line_starts_without_the_heavy_packages(process):
    code = "import sys, aetool.cli\nprint(sorted({name.split('.')[0] for name in sys.modules}))\nsys.exit()"
    loaded = eval(process(code=code).stdout)
    assert not {"torch", "onnx", "onnxscript", "pyarrow", "sklearn", "scipy", "pandas"} & set(loaded)


def without(*packages):
    return f"import sys\nfor name in {packages!r}: sys.modules[name] = None"


@pytest.mark.parametrize(
    ("package", "named", "extra", "arguments"),
    [
        ("torch", "torch", "train", ("train", "train.csv", "--drop", "id")),
        ("torch", "torch", "train", ("export", "checkpoint", "-o", "{out}")),
        ("torch", "torch", "train", ("verify", "bundle", "--against", "checkpoint")),
        ("torch", "torch", "train", ("info", "checkpoint")),
        ("onnx", "onnx", "train", ("export", "checkpoint", "-o", "{out}")),
        ("torch", "torch", "train", ("export", "--module", "n.py:N", "--input-shape", "4", "-o", "{out}")),
        ("onnx", "onnx", "train", ("adopt", "m.onnx", "--data", "new.csv", "-o", "{out}")),
        ("onnxruntime", "onnxruntime", "cpu", ("score", "bundle", "new.csv", "--provider", "cpu")),
        ("onnxruntime", "onnxruntime", "cpu", ("export", "checkpoint", "-o", "{out}")),
        ("pyarrow", "pyarrow", "tables", ("score", "bundle", "new.csv")),
        ("uvicorn", "uvicorn", "serve", ("serve", "bundle")),
        ("prometheus_client", "prometheus-client", "serve", ("serve", "bundle")),
        ("sklearn", "scikit-learn", "train", ("demo", "-o", "{out}")),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    process, made, tmp_path, package, named, extra, arguments
):
    given = [argument.format(out=tmp_path / "out") for argument in arguments]
    failed = process(*given, code=without(package), cwd=made)
    assert failed.returncode == 1 and failed.stdout == ""
    assert failed.stderr.startswith("Error: ") and failed.stderr.count("\n") == 1
    assert f"needs {named}," in failed.stderr and f"with the extra {extra!r}" in failed.stderr
    assert not (tmp_path / "out").exists() and not (made / "train-checkpoint").exists()


def test_a_bundle_is_evaluated_without_scikit_learn(process, made):
    done = process("evaluate", "bundle", "new.csv", code=without("sklearn"), cwd=made)
    assert done.returncode == 0 and "threshold" in done.stdout


def test_without_onnxruntime_doctor_and_help_still_work(process):
    missing = without("onnxruntime")
    assert "doctor" in process("--help", code=missing).stdout
    told = process("doctor", code=missing)
    assert told.returncode == 1 and "provider cpu" in told.stdout and "with the extra 'cpu'" in told.stdout
    assert "Traceback" not in told.stderr
    assert json.loads(process("doctor", "--json", code=missing).stdout)["healthy"] is False


def test_an_array_needs_no_pyarrow(process, made, tmp_path):
    import numpy as np

    np.save(tmp_path / "rows.npy", np.zeros((3, 4)))
    done = process("encode", made / "bundle", "rows.npy", "-o", "out.npy", code=without("pyarrow"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npy").shape == (3, 16)


def test_doctor_is_content_with_one_onnxruntime(process):
    done = process("doctor", "--json")
    states = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert states["onnxruntime"]["ok"] and states["provider cpu"]["state"] == "runs"
    assert done.returncode == 0


def test_doctor_finds_two_onnxruntimes_and_says_how_to_mend_it(process, tmp_path, environment):
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.30.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.30.0\n"
        )
    path = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    told = process("doctor", PYTHONPATH=path)
    assert told.returncode == 1
    assert "overwrite each other" in told.stdout and "pip uninstall -y onnxruntime onnxruntime-gpu" in told.stdout
    assert told.stderr.startswith("Error: onnxruntime") and told.stderr.count("\n") == 1


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(process, shell):
    done = process(_AETOOL_COMPLETE=f"{shell}_source")
    assert done.returncode == 0 and "_AETOOL_COMPLETE" in done.stdout


def test_completion_completes_commands_options_and_choices(process):
    def complete(*words):
        found = process(
            _AETOOL_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
        ).stdout
        return {line.split(",")[1] for line in found.splitlines()}

    assert complete("aetool", "e") == {"export", "encode", "evaluate"}
    assert "--label" in complete("aetool", "train", "--l")
    assert complete("aetool", "train", "--impute", "m") == {"mean", "median"}
