"""Copies of the bundle of this repository, with one precision and with two."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from variants import add_precision

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"


@pytest.fixture
def plain(tmp_path):
    """A copy of the bundle of this repository, to write beside."""
    return Path(shutil.copytree(EXPORTED, tmp_path / "cancer"))


@pytest.fixture
def two(plain):
    """The same with a second precision that gives the same."""
    return add_precision(plain, "fp16")


@pytest.fixture
def golden_rows():
    with np.load(EXPORTED / "golden.npz") as archive:
        return archive["features"].astype(np.float32)
