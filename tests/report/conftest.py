"""Result files, as documents to be changed at will, and a portrait of the repository's own bundle."""

import json

import bench_results
import numpy as np
import pytest
from portraits import labelled_portrait


@pytest.fixture(scope="session")
def _large():
    return json.dumps(bench_results.large())


@pytest.fixture
def many(_large):
    """The file of `large`, to be changed at will."""
    return json.loads(_large)


@pytest.fixture
def single():
    """The smallest file: one measurement, nobody to compare with."""
    return bench_results.document([bench_results.measurement(samples=40)])


@pytest.fixture
def write(tmp_path):
    """Write a document; gives its path."""

    def write(content, name="bench.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def names():
    return np.array([f"sample {number:03}" for number in range(100)])


@pytest.fixture(scope="session")
def labelled(names):
    return labelled_portrait(names)
