"""Bundles of series, made once."""

import numpy as np
import pytest
from app_fixtures import EXPORTED
from series_bundles import Convolved, series_bundle

import aetool


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """Windows of 8 samples, 3 channels, stride 2, a gap of more than 5 s: on the core."""
    return series_bundle(tmp_path_factory.mktemp("series") / "waves", gap=5.0, time="time", group="machine")


@pytest.fixture(scope="session")
def convolved(tmp_path_factory):
    """The same on onnxruntime."""
    return series_bundle(tmp_path_factory.mktemp("series") / "convolved", network=Convolved)


@pytest.fixture
def model(series):
    with aetool.load(series) as opened:
        yield opened


@pytest.fixture(scope="session")
def rows():
    """Rows of the table of breast-cancer, float32."""
    with np.load(EXPORTED / "golden.npz") as archive:
        return archive["features"].astype(np.float32)
