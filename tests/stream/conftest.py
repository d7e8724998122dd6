"""Rows, and the runs that stream them."""

import numpy as np
import pyarrow as pa
import pytest
from stream_files import FEATURES

from aetool import load
from aetool.stream import Task, stream


@pytest.fixture(scope="session")
def rows(cancer):
    """(count, seed) -> float32 rows like the bundle's own."""

    def make(count, seed=0):
        random = np.random.default_rng(seed)
        real = cancer.values[random.integers(0, len(cancer), count)]
        return (real * random.normal(1, 0.01, real.shape)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def as_table():
    """Rows as an Arrow table with an id in front."""

    def make(values):
        ids = pa.array([f"m{i:06}" for i in range(len(values))])
        return pa.table([ids, *values.T.copy()], names=["id", *FEATURES])

    return make


@pytest.fixture
def run(bundle):
    """Stream with the session's bundle; gives the `Run`."""

    def go(inputs, output, command="score", keep=(), **options):
        inputs = inputs if isinstance(inputs, list) else [inputs]
        return stream(
            Task(command, str(bundle), keep=keep), [str(given) for given in inputs], str(output), **options
        )

    return go


@pytest.fixture(scope="session")
def model(bundle):
    return load(bundle)
