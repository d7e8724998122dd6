"""A real server in a process of its own, on the repository's bundle."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from single_rows import requests_for

import aetool
from aetool.bench._http_load import address_of, closed_loop

ROOT = Path(__file__).parents[2]
EXPORTED = ROOT / "exported" / "breast-cancer"


class Server:
    """`aetool serve` as a process; `log` holds the lines of its log so far."""

    def __init__(self, *arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if name != "AETOOL_TOKEN"}
        path = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aetool", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONPATH": path, **variables},
        )
        self.log = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.wait_for("serving")["url"]
        self.authority = urlsplit(self.url).netloc

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.log.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self.log.append({"event": "ended"})
            self._news.notify_all()

    def wait_for(self, event, after=0):
        """The first line of the log about `event`, from number `after` on."""

        def found():
            return next((line for line in self.log[after:] if line["event"] in (event, "ended")), None)

        with self._news:
            assert self._news.wait_for(found, timeout=30), self.log
            assert found()["event"] == event, self.log
            return found()

    def call(self, method, path, body=None, **headers):
        """(status, headers, parsed JSON or bytes) of one request."""
        connection = http.client.HTTPConnection(self.authority, timeout=30)
        with contextlib.closing(connection):
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, sent)
            answer = connection.getresponse()
            content = answer.read()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, answer.headers, json.loads(content) if is_json else content

    def stop(self, number=signal.SIGTERM):
        """(exit code, stdout)"""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self._reader.join(timeout=30)
        out = self.process.stdout.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out


@pytest.fixture(scope="session")
def start():
    """start(*arguments, **variables): a context manager that gives a Server."""

    @contextlib.contextmanager
    def made(*arguments, **variables):
        server = Server(*arguments, **variables)
        try:
            yield server
        finally:
            if not server.process.stdout.closed:
                server.stop()

    return made


@pytest.fixture(scope="session")
def server(start):
    """One for all tests; it serves the exported bundle as `cancer`."""
    with start(
        f"cancer={EXPORTED}",
        "--head-timeout",
        "1",
        "--body-timeout",
        "1",
        "--max-body-mb",
        "1",
        "--max-rows",
        "512",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def exported():
    return EXPORTED


@pytest.fixture(scope="session")
def model():
    """What the server must agree with."""
    return aetool.load(EXPORTED, provider="cpu")


@pytest.fixture(scope="session")
def rows():
    """Real rows, (84, 30)."""
    with np.load(EXPORTED / "golden.npz") as archive:
        return archive["features"].astype(np.float32)


def infer_body(rows, **more):
    """A request in JSON."""
    tensor = {"name": "features", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    return {"inputs": [tensor], **more}


@pytest.fixture(scope="session", name="infer_body")
def _infer_body():
    return infer_body


@pytest.fixture
def under_load(rows):
    """under_load(server, seconds): a thread's result, what 16 clients saw."""

    def made(server, seconds):
        seen = []
        load = closed_loop(address_of(server.url), requests_for(server, rows), connections=16, seconds=seconds)
        thread = threading.Thread(target=lambda: seen.append(asyncio.run(load)))
        thread.start()

        def result():
            thread.join(60)
            return seen[0]

        return result

    return made
