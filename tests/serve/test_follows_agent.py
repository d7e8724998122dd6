"""A server on an agent's directory: it serves the current bundle, changes over under load, and reports."""

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import aetool
from aetool.bench._http_load import OK, address_of, closed_loop, request_bytes
from aetool.decisions import Goal, calibrate
from aetool.release import Agent, prove_here, push, status_of

SWITCHES = 500 if os.environ.get("AETOOL_LONG") else 6
CLIENTS = 64


@pytest.fixture(scope="module")
def two(exported, tmp_path_factory):
    """Two bundles that differ by their threshold."""
    folder = tmp_path_factory.mktemp("two")
    for name, threshold in (("a", 0.3), ("b", 0.4)):
        calibrate(exported, goal=Goal(threshold=threshold), output=folder / name)
    return folder


@pytest.fixture
def device(two, tmp_path):
    """(directory of an agent, {version: threshold}): a is current, b is ready too."""
    for name in "ab":
        push(two / name, tmp_path / "store", channel=name)
        with Agent(tmp_path / "store", tmp_path / "cancer", channel=name, prove=prove_here) as agent:
            assert agent.poll().event == "switched"
    folder = tmp_path / "cancer"
    known = {each.name: aetool.load(each).threshold for each in (folder / "versions").iterdir()}
    switch(folder, next(name for name, threshold in known.items() if threshold < 0.35))
    return folder, known


def switch(folder, version):
    """What an agent does at a switch."""
    (folder / ".new").symlink_to(Path("versions", version))
    (folder / ".new").replace(folder / "current")


@pytest.fixture(scope="module")
def between(model, rows):
    """A row that a flags and b does not: its score lies between their thresholds."""
    scores = model.score(rows)
    calm, odd = rows[scores.argmin()], rows[scores.argmax()]
    for share in np.linspace(0, 1, 10_000):
        row = (calm + share * (odd - calm)).astype(np.float32)
        if model.score(row) > 0.33:
            assert model.score(row) < 0.37
            return row
    raise AssertionError


def body_of(row):
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, row.size], "data": row.tolist()}
    return {"inputs": [tensor], "outputs": [{"name": "score"}, {"name": "is_anomaly"}]}


def test_switches_under_load_fail_no_request_and_no_answer_is_of_two_models(start, device, between):
    folder, known = device
    thresholds, faults, seen, done = (
        {name[:12]: value for name, value in known.items()},
        [],
        set(),
        threading.Event(),
    )

    def check(_, answer):
        found = json.loads(answer)
        values = {each["name"]: each["data"][0] for each in found["outputs"]}
        seen.add(found["model_version"])
        if values["is_anomaly"] != (values["score"] > thresholds[found["model_version"]]):
            faults.append(found)

    with start(folder) as server:
        address = address_of(server.url)
        request = request_bytes(address, "POST", "/v2/models/cancer/infer", json.dumps(body_of(between)).encode())

        def load():
            while not done.is_set():
                found = asyncio.run(
                    closed_loop(address, [request] * CLIENTS, connections=CLIENTS, count=4 * CLIENTS, check=check)
                )
                if set(found.statuses) != {OK}:
                    faults.append(found.statuses)
                time.sleep(0.1)  # the server needs time to open bundles, on few cores

        clients, memory = threading.Thread(target=load), []
        clients.start()
        names = sorted(known, key=known.get)
        for number in range(1, SWITCHES + 1):
            before = len(server.log)
            switch(folder, names[number % 2])
            assert server.wait_for("bundle replaced", after=before)["version"] == names[number % 2][:12]
            memory.append(resident(server.process.pid))
        done.set()
        clients.join()
    assert faults == [] and seen == set(thresholds)
    print(f"\n{SWITCHES} switches, memory in MB: {memory[:: max(1, SWITCHES // 10)]}")
    if SWITCHES > 100:
        assert memory[-1] < 1.1 * memory[SWITCHES // 5]


def resident(process):
    """Memory of a process, in MB."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def test_the_server_counts_for_the_agent(start, device, between):
    folder, _ = device
    with start(folder) as server:
        for _ in range(3):
            assert server.call("POST", "/v2/models/cancer/infer", body_of(between))[0] == 200
        end = time.monotonic() + 30
        while status_of(folder).reported.rows < 3 and time.monotonic() < end:
            time.sleep(0.05)
    found = status_of(folder).reported
    assert (found.rows, found.flagged, found.errors) == (3, 3, 0)


def test_a_bundle_that_the_server_cannot_open_is_reported_and_the_old_one_is_served(start, device, between):
    folder, known = device
    first, second = sorted(known, key=known.get)
    with start(folder) as server:
        (folder / "versions" / second / "detector.onnx").write_bytes(b"rot")
        switch(folder, second)
        assert "detector.onnx" in server.wait_for("bundle refused, the old one is served")["error"]
        assert server.call("POST", "/v2/models/cancer/infer", body_of(between))[2]["model_version"] == first[:12]
    found = status_of(folder).reported
    assert found.errors == 1 and "detector.onnx" in found.error
