"""Killed at any moment of push, download, proof, switch and rollback, a device has a model that proves itself."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from aetool import Limits
from aetool.bundle.bundle import Bundle
from aetool.core.native import vectors
from aetool.release import listing, prove_here, read_state

KILLS = 10_000 if os.environ.get("AETOOL_LONG") else 50
STEPS = {True: {"push": 1, "poll": 6, "roll back": 1}, False: {"push": 5, "poll": 1, "roll back": 3}}
"""How often each step comes, where there is a release to take and where there is none."""
PROVIDER = "cpu" if vectors() is None else "native"


class Worker:
    """The process that begins steps and kills them."""

    def __init__(self, site, log):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.known = {
            "store": str(site.store), "device": str(site.device), "log": str(log), "private": str(site.private),
            "public": str(site.public), "provider": PROVIDER,
        }  # fmt: skip

    def do(self, step, bundle, kill_after=None, kill_at=None):
        command = {"step": step, "bundle": str(bundle), "kill_after": kill_after, "kill_at": kill_at, **self.known}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def is_pending(site):
    """Whether the channel names another version than the current one, and it was not taken back."""
    channel = json.loads(json.loads(site.channel().read_text())["payload"])
    refused = read_state(site.device).refused.get(channel["version"])
    return channel["version"] != site.current.name and not (refused and refused.release >= channel["release"])


def require_whole_store(site):
    channels, versions, _ = listing(site.store, public_key=site.public)
    assert {each.version for each in channels} <= {each.version for each in versions}
    for each in versions:
        Bundle.open_whole(site.store / "versions" / each.version, public_key=site.public)


def require_working_device(site):
    for entry in (site.device / "versions").iterdir():
        Bundle.open_whole(entry, public_key=site.public)
    read_state(site.device)
    assert prove_here(site.current, PROVIDER, site.public, Limits()) is None


def whole_files(site):
    """Names in the store of the files that are whole on the device: they got their names after their check."""
    folders = [*(site.device / "staging").glob("*[0-9a-f]"), *(site.device / "versions").iterdir()]
    return {
        f"versions/{folder.name}/{path.relative_to(folder)}"
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "signature.json")
    }


@pytest.fixture
def worker(site, tmp_path):
    started = Worker(site, tmp_path / "log")
    yield started
    started.end()


def test_a_device_killed_at_any_moment_has_a_model_that_proves_itself(site, worker, tmp_path):
    log, choices, killed, ended = tmp_path / "log", random.Random(KILLS), Counter(), Counter()
    bundles = [site.made / name for name in "abc"]
    takes, changes = {}, Counter()
    for number, bundle in enumerate([*bundles, *bundles]):  # each step once, to see how long it takes
        for step in ("push", "poll", *(["roll back"] if number % 2 else [])):
            found = worker.do(step, bundle)
            assert found["code"] == 0
            takes[step], changes[step] = found["seconds"], max(found["changes"], changes[step])
    turn = 0
    while killed.total() < KILLS:
        turn += 1
        assert turn < 20 * KILLS  # nearly all ended before their kill came
        steps = STEPS[is_pending(site)]
        step = choices.choices(list(steps), list(steps.values()))[0]
        bundle = bundles[turn // 8 % 3]
        if step == "push" and choices.random() < 0.3:
            forget_a_version(site)
        there = whole_files(site)
        log.write_text("")
        if turn % 2:  # at any moment; else before any change to the disk, however short the time between two
            found = worker.do(step, bundle, kill_after=choices.uniform(0, 1.2 * takes[step]))
        else:
            found = worker.do(step, bundle, kill_at=choices.randint(1, changes[step]))
        assert found["code"] in (0, -9)
        (killed if found["code"] else ended)[step] += 1
        if found["code"] and killed.total() % 500 == 0:
            print(f"\nkilled: {dict(killed)}, ended before: {dict(ended)}", flush=True)
        if not found["code"]:
            takes[step] += 0.1 * (found["seconds"] - takes[step])
        require_working_device(site)
        assert not there & set(log.read_text().splitlines()), "fetched again"
        if step == "push":
            require_whole_store(site)
    print(f"\nkilled: {dict(killed)}, ended before: {dict(ended)}")
    for _ in range(2):
        assert worker.do("push", bundles[2])["code"] == worker.do("poll", bundles[2])["code"] == 0
    require_whole_store(site)
    require_working_device(site)
    manifest = Bundle.open(site.current).manifest
    assert manifest == Bundle.open(bundles[2]).manifest
    assert list((site.device / "staging").iterdir()) == []
    left = sorted(entry.name for entry in site.device.iterdir())
    assert left == ["current", "reports", "staging", "state.json", "versions"]


def forget_a_version(site):
    """Delete a version that no channel names, so that it is written anew: its manifest first."""
    channels, versions, _ = listing(site.store)
    unused = [each.version for each in versions if each.version not in {one.version for one in channels}]
    for version in unused[:1]:
        (site.store / "versions" / version / "manifest.json").unlink()
        shutil.rmtree(site.store / "versions" / version)
