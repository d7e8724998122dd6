"""Actors of Ray do what one process does, row for row, also when one of them dies."""

import os
import signal
import time
from pathlib import Path

import pytest
from stream_files import content, write

from aetool.errors import InputError, OutputError

ray = pytest.importorskip("ray", reason="ray is not installed: install aetool with the extra 'ray'")

from aetool.stream.ray import RayEngine  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray of two cores for all tests here: it takes seconds to start."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


ROWS = 20_000 if os.environ.get("AETOOL_LONG") else 2_000  # of a file: enough to kill a worker that is busy


@pytest.fixture(scope="module")
def files(rows, as_table, tmp_path_factory):
    """Enough files to keep two workers busy; nobody writes there."""
    folder = tmp_path_factory.mktemp("ray") / "in"
    for number in range(8):
        write(folder / f"{number}.parquet", as_table(rows(ROWS, number)))
    return folder


@pytest.fixture
def own_files(rows, as_table, tmp_path):
    """Two small ones, to change."""
    for number in range(2):
        write(tmp_path / "in" / f"{number}.parquet", as_table(rows(100, number)))
    return tmp_path / "in"


def workers():
    """The processes of this test's own actors, by the parents that they descend from."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            parents[int(place.name)], names[int(place.name)] = int(fields[1]), (place / "cmdline").read_bytes()
        except OSError:
            continue

    def is_own(process):
        while process in parents:
            if (process := parents[process]) == os.getpid():
                return True
        return False

    return [process for process, name in names.items() if name.startswith(b"ray::RayWorker") and is_own(process)]


def test_its_files_are_those_of_one_process_byte_for_byte(run, files, tmp_path):
    local = run(files, tmp_path / "local", keep=("id",))
    there = run(files, tmp_path / "ray", keep=("id",), engine=RayEngine(2))
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert there.total("anomalies") == local.total("anomalies") and there.total("rows") == 8 * ROWS


@pytest.mark.skipif(not os.environ.get("AETOOL_LONG"), reason="long: make soak")
def test_a_worker_that_is_killed_loses_and_repeats_nothing(run, files, tmp_path):
    run(files, tmp_path / "local")
    killed, before = [], set(workers())  # those of the last test may take their time to end

    def kill(rows, size):
        if not killed:
            deadline = time.monotonic() + 60
            while (
                len(found := [one for one in workers() if one not in before]) < 2 and time.monotonic() < deadline
            ):
                time.sleep(0.05)  # on a busy machine the second one starts later
            killed.extend(found)
            os.kill(killed[0], signal.SIGKILL)

    done = run(files, tmp_path / "ray", engine=RayEngine(2), progress=kill)
    assert len(killed) == 2 and done.total("rows") == 8 * ROWS
    assert content(tmp_path / "ray") == content(tmp_path / "local")


@pytest.mark.skipif(not os.environ.get("AETOOL_LONG"), reason="long: make soak")
def test_bad_files_are_told_as_by_one_process(run, own_files, tmp_path):
    (own_files / "bad.csv").write_text("id,c0\nm,1\n")
    done = run(own_files / "*.csv", tmp_path / "out", engine=RayEngine(1), skip_bad=True)
    assert [outcome.source.name for outcome in done.failed] == ["bad.csv"] and "'c1'" in done.failed[0].error


@pytest.mark.skipif(not os.environ.get("AETOOL_LONG"), reason="long: make soak")
def test_an_output_that_cannot_be_written_is_told_as_by_one_process(run, own_files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to("/dev/null/nothing")
    (own_files / "deep").mkdir()
    (own_files / "0.parquet").rename(own_files / "deep" / "0.parquet")
    with pytest.raises(OutputError, match=r"deep/0\.parquet"):
        run([own_files], tmp_path / "out", engine=RayEngine(1))


def test_numbers_that_make_no_sense_are_refused():
    for options in ({"workers": 0}, {"gpus_per_worker": -1.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            RayEngine(**options)
