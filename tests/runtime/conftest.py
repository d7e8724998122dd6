"""What the tests of the runtime share with those of the bundle; and which of them run on both engines."""

import pytest
from app_fixtures import _npz, bundle, exported, golden, many, model, rewrite, rows, run_python  # noqa: F401

from aetool.core.native import vectors

BOTH = ("columns", "concurrency", "explain", "inputs", "memory", "out", "results")
ENGINES = [
    "cpu",
    pytest.param("native", marks=pytest.mark.skipif(vectors() is None, reason="the core is not compiled here")),
]


def pytest_generate_tests(metafunc):
    """Whoever asks for `model`, or for the name of an `engine`, gets onnxruntime and aetool's own core."""
    if metafunc.module.__name__.removeprefix("test_") not in BOTH:
        return
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", ENGINES, indirect=True, scope="session")
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ENGINES)
