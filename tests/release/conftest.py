"""Bundles that differ by their threshold alone, keys, a store, and an agent on it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aetool.bundle.bundle import Bundle
from aetool.bundle.keys import write_keys
from aetool.bundle.write import sign_bundle
from aetool.core.native import vectors
from aetool.decisions import Goal, calibrate
from aetool.release import Agent, listing, prove_here, push, renew

PROVIDER = "cpu" if vectors() is None else "native"
"""What proves soonest."""
EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"


@pytest.fixture(scope="session")
def table():
    """(normal, abnormal) rows of scikit-learn's breast-cancer table."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return data.data[data.target == 1].astype(np.float32), data.data[data.target == 0].astype(np.float32)


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Private and public."""
    private = tmp_path_factory.mktemp("keys") / "release.pem"
    return private, write_keys(private)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Three bundles, a, b and c, each newer than the one before: not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    for day, name in enumerate("abc", 1):
        calibrate(EXPORTED, goal=Goal(threshold=0.2 + day / 10), output=folder / name)
        redated(folder / name, f"2027-01-0{day}T00:00:00Z")
    return folder


def redated(bundle, moment):
    """Change when a bundle was made."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["created"] = moment
    if "calibration" in manifest:
        manifest["calibration"]["created"] = moment
    path.write_text(json.dumps(manifest))
    return bundle


@pytest.fixture(scope="session", name="redated")
def _redated():
    return redated


@pytest.fixture(scope="session")
def promised(table, tmp_path_factory):
    """A bundle that was calibrated: newer than a, b and c, at most 5 % of normal rows flagged."""
    path = tmp_path_factory.mktemp("promised") / "promised"
    calibrate(EXPORTED, table[0], goal=Goal(false_alarms=0.05), output=path)
    return redated(path, "2027-02-01T00:00:00Z")


class Site:
    """A store, and a device that follows it."""

    def __init__(self, folder, made, keys):
        self.made, (self.private, self.public) = made, keys
        self.store, self.device = folder / "store", folder / "device"

    def push(self, bundle="a", **options):
        """Release one of `made`, or a bundle at a path; the version."""
        where = self.made / bundle if isinstance(bundle, str) else bundle
        return push(where, self.store, **{"private_key": self.private, **options}).channel.version

    def agent(self, **options):
        """An agent that proves in this process, which is faster."""
        own = {"public_key": self.public, "prove": prove_here, "provider": PROVIDER}
        return Agent(self.store, self.device, **{**own, **options})

    def poll(self, **options):
        with self.agent(**options) as agent:
            return agent.poll()

    def release_twice(self):
        """Release one version to two channels and a newer one to one, which is renewed; a device takes both."""
        version = self.push("a")
        assert self.poll().version == version and self.whole()
        assert push(self.made / "a", self.store, private_key=self.private, channel="canary").written == 0
        newer = self.push("b")
        assert self.poll().version == newer
        channels, versions, problems = listing(self.store, public_key=self.public)
        assert [(each.channel, each.version) for each in channels] == [("canary", version), ("stable", newer)]
        assert [each.version for each in versions] == [version, newer] and not problems
        assert renew(self.store, private_key=self.private, public_key=self.public).sequence == 3
        assert self.poll().event == "current"
        return version, newer

    @property
    def current(self):
        return (self.device / "current").resolve()

    def whole(self):
        """The id of the current bundle, which must be whole and signed."""
        return Bundle.open_whole(self.current, public_key=self.public).manifest.id

    def channel(self, name="stable"):
        return self.store / "channels" / f"{name}.json"


@pytest.fixture
def site(tmp_path, made, keys):
    return Site(tmp_path, made, keys)


@pytest.fixture
def copied(tmp_path, made):
    """copied(name): a copy of one of `made`, to change."""
    return lambda name="a": Path(shutil.copytree(made / name, tmp_path / f"copy-{name}"))


@pytest.fixture(scope="session")
def signed_again(keys):
    """signed_again(bundle): sign what was changed."""
    return lambda bundle: sign_bundle(bundle, keys[0])
