"""`--workers`: several processes, one server to everyone outside."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from raw import answer, connections, eventually, metric, whole

from aetool.bench._http_load import NO_ANSWER, OK
from aetool.serve._workers import Board, Seat

INFER = "/v2/models/cancer/infer"


def workers_of(server):
    """Process ids of the workers: of all children, those that were forked."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "_health.py" not in Path(f"/proc/{child}/cmdline").read_text()]


def sockets(pid):
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += entry.readlink().name.startswith("socket:")
    return found


@contextlib.contextmanager
def two(start, exported, *arguments):
    with start(f"cancer={exported}", "--workers", "2", *arguments) as server:
        server.wait_for("all workers serve")
        yield server


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code


def test_connections_are_shared_evenly_and_counted_together(start, exported, rows, infer_body, model):
    with two(start, exported) as server:
        before = [sockets(pid) for pid in workers_of(server)]
        with connections(server, 20) as opened:
            assert eventually(lambda: metric(server, "aetool_connections_open") == 21)
            more = [sockets(pid) - count for pid, count in zip(workers_of(server), before, strict=True)]
            assert 20 <= sum(more) <= 22 and max(more) <= 13  # and a connection of ours, closed just now
            body = repr(infer_body(rows)).replace("'", '"').encode()
            for one in opened:
                one.sendall(whole(body))
            scores = [answer(one)[1]["outputs"][0]["data"] for one in opened]
        assert all(np.allclose(found, model.score(rows), rtol=1e-5) for found in scores)
        assert metric(server, "aetool_rows_total") == 20 * len(rows) == metric(server, "aetool_window_rows")
        assert metric(server, 'aetool_requests_total{model="cancer"') == 20
        assert metric(server, "aetool_workers") == 2
        code, out = server.stop()
        assert code == 0 and int(out.split()[0]) >= 20


def test_a_worker_that_dies_is_replaced_and_no_counter_falls(start, exported, under_load):
    with two(start, exported, "--health-port", "0") as server:
        health = f"{server.wait_for('serving')['health']}/v2/health/ready"
        result = under_load(server, 4)
        time.sleep(1.5)
        gone, other = workers_of(server)
        counted = metric(server, "aetool_rows_total")
        os.kill(gone, signal.SIGKILL)
        server.wait_for("a worker ended, it is started again")
        assert metric(server, "aetool_rows_total") >= counted
        assert status_of(health) == 200
        assert eventually(lambda: len(workers_of(server)) == 2 and metric(server, "aetool_workers") == 2)
        seen = result()
        assert set(seen.statuses) <= {OK, NO_ANSWER} and seen.statuses[NO_ANSWER] <= 16  # its own connections
        assert metric(server, "aetool_rows_total") >= max(counted, seen.statuses[OK] * 0.5)
        assert metric(server, "aetool_worker_restarts_total") == 1
        assert other in workers_of(server) and gone not in workers_of(server)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_under_load_loses_no_request_and_leaves_no_process(start, exported, under_load, number, code):
    with two(start, exported) as server:
        pids, result = workers_of(server), under_load(server, 30)
        time.sleep(0.5)
        assert server.stop(number)[0] == code
        seen = result()
        assert seen.statuses[OK] > 50 and set(seen.statuses) == {OK}
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert [line["event"] for line in server.log][-3:] == ["stopping", "stopped", "ended"]


def test_workers_whose_parent_is_killed_end(start, exported):
    with two(start, exported) as server:
        pids = workers_of(server)
        server.process.kill()
        server.process.wait()
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_new_bundle_and_a_new_token_reach_all_workers(start, exported, bundle, tmp_path):
    shutil.copytree(exported, path := tmp_path / "cancer")
    (token := tmp_path / "token").write_text("first-token-0123456789")
    with two(start, path, "--token-file", token) as server:

        def answers(secret):
            return [server.call("GET", "/v2/models/cancer", Authorization=f"Bearer {secret}") for _ in range(6)]

        before = answers("first-token-0123456789")[0][2]["versions"]
        path.rename(tmp_path / "old")
        shutil.copytree(bundle, beside := tmp_path / "beside")
        beside.rename(path)
        token.write_text("second-token-0123456789")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: sum(line["event"] == "bundle replaced" for line in server.log) >= 2, 60)
        after = answers("second-token-0123456789")
        assert {status for status, _, _ in after} == {200}
        assert before not in [document["versions"] for _, _, document in after]


def test_a_bundle_that_cannot_be_served_is_said_once(exported, tmp_path):
    shutil.copytree(exported, bad := tmp_path / "bad")
    (bad / "encoder.onnx").write_bytes(b"")
    command = [sys.executable, "-m", "aetool", "serve", str(bad), "--port", "0", "--workers", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and len(re.findall("^Error: .*encoder.onnx", done.stderr, re.M)) == 1
    assert done.stderr.count("could not start") == 1


STUCK = """
import os, signal, sys, time
from aetool.serve import _workers
from aetool.serve.logs import write_lines

_workers._STUCK_TICKS, _workers._TICK_S, _workers._BACK_OFF_S = 5, 0.02, 0.1
write_lines(sys.stderr)
board = _workers.Board(2)
begin = time.monotonic()

def work(seat):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        first = board.restarts == 0 or seat.number == 0
        if not first and board.restarts < 4:
            os._exit(3)
        if board.restarts or seat.number == 0 or not board.serving == 2:
            seat.beat(stopping=False, requests=1)
        time.sleep(0.01)

parent = _workers.Parent(board, work, 1.0)
with parent.started():
    def tick():
        if board.restarts == 4 and board.serving == 2:
            os.kill(os.getpid(), signal.SIGTERM)
    parent.watch(tick, lambda: None)
"""


def test_a_stuck_worker_is_killed_and_one_that_fails_again_waits_longer():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=True)
    assert "stuck" in done.stderr
    waits = [float(text) for text in re.findall(r'"seconds": ([\d.]+)', done.stderr)]
    assert waits == [0.1, 0.2, 0.4, 0.8]


def test_a_page_that_is_being_written_is_not_read():
    with contextlib.closing(Board(2)) as board:
        seat = Seat(board, 0, -1)
        assert board.read(0) == b"" and list(board.others(1)) == []
        seat.write(b"whole" * 1000, 1)
        os.pwrite(board._pages[0][0], b"half of the next one", 0)
        assert board.read(0) == b"whole" * 1000
        assert list(board.others(1)) == [(b"whole" * 1000, False)]
        seat.beat(stopping=False, requests=3)
        assert board.serving == 1 and board.requests == 3 and board.have_answered(1) and not board.have_answered(2)
        assert (
            Seat(board, 0, -1).is_next(5) and Seat(board, 1, -1).is_next(5) and not Seat(board, 1, -1).is_next(6)
        )


def test_a_server_whose_other_workers_still_start_stops_in_order(start, exported):
    with start(f"cancer={exported}", "--workers", "3") as server:
        assert server.call("GET", "/v2/health/ready")[0] == 200
        code, _ = server.stop()
        assert code == 0 and [line["event"] for line in server.log][-2:] == ["stopped", "ended"]
