"""A run that is killed, at any moment, goes on where it stopped: no row is lost, none is there twice."""

import random
import signal
import subprocess
import sys
import time

import pytest
from stream_files import content, write

KILLS = 3
FILES = 24


@pytest.fixture(scope="module")
def many(rows, as_table, tmp_path_factory):
    """Nobody writes there."""
    folder = tmp_path_factory.mktemp("killed") / "in"
    for number in range(FILES):
        write(folder / f"{number:02}.parquet", as_table(rows(20_000, number)))
    return folder


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(run, bundle, many, tmp_path):
    run(many, tmp_path / "whole", "reconstruct", keep=("id",))
    moments, out = random.Random(1), tmp_path / "out"
    command = [sys.executable, "-m", "aetool", "reconstruct", bundle, many, "-o", out, "--keep", "id", "--resume"]
    killed = 0
    for _ in range(KILLS):
        before = len(list(out.glob("*.parquet")))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            # Not by the clock alone: under load a run may not have begun yet, on a fast machine it may be over.
            while len(list(out.glob("*.parquet"))) <= before and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        for name, found in content(out).items():
            assert name.startswith(".aetool-") or found == (tmp_path / "whole" / name).read_bytes()
    assert killed
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert content(out) == content(tmp_path / "whole")


def test_ctrl_c_ends_a_run_with_130_and_leaves_whole_files_only(run, bundle, many, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "aetool", "reconstruct", bundle, many, "-o", out, "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(out.glob("*.parquet")):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        shown, told = process.communicate(timeout=60)
    assert (process.returncode, shown, told.strip()) == (130, "", "Interrupted.")
    assert 0 < len(content(out)) < FILES
    assert all(len(name) == len("00.parquet") for name in content(out))
