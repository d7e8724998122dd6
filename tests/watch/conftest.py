"""Bundles of series."""

import numpy as np
import pytest
from app_fixtures import EXPORTED
from series_bundles import CONVOLVED, WAVES

import aetool


@pytest.fixture(scope="session")
def series():
    """Windows of 8 samples, 3 channels, stride 2, a gap of more than 5 s: on the core."""
    return WAVES


@pytest.fixture(scope="session")
def convolved():
    """The same on onnxruntime, without times and groups."""
    return CONVOLVED


@pytest.fixture
def model(series):
    with aetool.load(series) as opened:
        yield opened


@pytest.fixture(scope="session")
def rows():
    """Rows of the table of breast-cancer, float32."""
    with np.load(EXPORTED / "golden.npz") as archive:
        return archive["features"].astype(np.float32)
