"""A bundle that is there already, and what a host needs: found, or skipped; in CI a skip is a failure."""

import os
import sys
from pathlib import Path

import pytest

from aetool.bundle.bundle import Bundle

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import hosts  # noqa: E402

REQUIRED = "AETOOL_HOSTS_REQUIRED"


@pytest.fixture(scope="session")
def need():
    """need("Node"): skip the test where that host is not installed; fail it where CI says that all are."""

    def check(host):
        if absent := hosts.missing(host):
            reason = f"{host} is not tested: {absent} not installed"
            if os.environ.get(REQUIRED):
                pytest.fail(reason)
            pytest.skip(reason)

    return check


@pytest.fixture(scope="session")
def cancer_bundle():
    """The bundle that comes with the repository."""
    return Bundle.open(ROOT / "exported" / "breast-cancer")


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    """write(deployment): the directory with its files."""
    from aetool.bundle.atomic import publish_directory

    def published(deployment):
        path = tmp_path_factory.mktemp("deployed") / "it"
        publish_directory(path, deployment.files)
        return path

    return published
