"""A bundle that is there already, and what a host needs: found, or skipped; in CI a skip is a failure."""

import base64
import gzip
import os
import re
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


@pytest.fixture(scope="session")
def change_packed():
    """change_packed(folder, name, change): change the content of a file inside model.mjs."""

    def changed(folder, name, change):
        path = folder / "model.mjs"
        text = path.read_text(encoding="utf-8")
        found = re.search(f'"{re.escape(name)}": "([^"]+)"', text)
        content = gzip.compress(change(gzip.decompress(base64.b64decode(found[1]))))
        path.write_text(text.replace(found[1], base64.b64encode(content).decode()), encoding="utf-8")

    return changed
