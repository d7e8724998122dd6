"""Fixtures that more than one room's tests use. No import of torch here: tests/runtime runs without it."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Two processes of pytest on two cores: more threads each would wait for one another, and keep both cores busy.
# Before numpy and torch are imported, which read it once; what a test starts inherits it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from quick_exports import keep_tables  # noqa: E402

# As `aetool` itself: to look for garbage among torch's half a million objects took a sixth of the time of exports.
gc.set_threshold(20_000)

# A run in the background of a script ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Of few tests that take long: begun first, or at the end one process works while the other waits.
LONG = (
    "test_docs_pages.py",
    "test_frozen_app.py",
    "test_kills.py",
    "test_docs_site.py",
    "test_old_runtime.py",
    "test_ray_engine.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_unconfigure() -> None:
    gc.freeze()  # the process ends: pytest would look for garbage among torch's objects five times


def pytest_runtest_setup() -> None:
    if "torch.onnx._internal.exporter._core" in sys.modules:
        keep_tables()


@pytest.fixture(scope="session")
def every_output() -> list[tuple[str, str]]:
    """(graph, output) of a bundle without segments, in order."""
    return [
        ("encoder", "embedding"),
        ("decoder", "reconstruction"),
        ("autoencoder", "embedding"),
        ("autoencoder", "reconstruction"),
        ("detector", "score"),
        ("detector", "is_anomaly"),
        ("explainer", "contribution"),
        ("explainer", "reconstruction"),
    ]


def _table(values: Any, labels: Any = None, source: str = "made.csv") -> Any:
    from aetool.tables import table_from_columns

    values = np.asarray(values)
    columns = {f"c{i}": values[:, i] for i in range(values.shape[1])}
    if labels is None:
        return table_from_columns(columns, source=source)
    return table_from_columns({**columns, "broken": np.asarray(labels)}, label="broken", source=source)


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Any]:
    """(rows, columns) numbers, and labels if any -> Table with columns c0, c1, ..."""
    return _table


@pytest.fixture(scope="session")
def cancer() -> Any:
    """scikit-learn's breast-cancer table; malignant is the anomaly."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return _table(data.data, data.target == 0, "cancer.csv")


@pytest.fixture(scope="session")
def trained(cancer: Any) -> Any:
    """A small autoencoder trained for a moment; tests must not change it."""
    from aetool.model import AutoencoderConfig, TrainingConfig, train

    return train(cancer, TrainingConfig(epochs=8, batch_size=64), AutoencoderConfig(30, 12))


@pytest.fixture(scope="session")
def bundle(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `trained`; tests must not change it."""
    from aetool.export import export_checkpoint

    path = tmp_path_factory.mktemp("bundles") / "cancer"
    export_checkpoint(trained, path)
    return path


@pytest.fixture(scope="session")
def mixed() -> dict[str, list[Any]]:
    """Columns of 240 rows: text, integer codes, true and false, and numbers that go with them."""
    random = np.random.default_rng(5)
    job = random.integers(0, 4, 240)
    size = job + random.normal(0, 0.1, 240)
    return {
        "job": [("clerk", "nurse", "pilot", "smith, or so")[i] for i in job],
        "size": size.tolist(),
        "region": [int(code) for code in random.choice([3, 10, 20], 240)],
        "weight": (3 * size + random.normal(0, 0.3, 240) + 70).tolist(),
        "owner": [bool(value) for value in (job > 1) ^ (random.random(240) < 0.05)],
    }


@pytest.fixture(scope="session")
def mixed_trained(mixed: dict[str, list[Any]]) -> Any:
    """Trained on `mixed` for a moment; tests must not change it."""
    from aetool.model import TrainingConfig, train
    from aetool.tables import table_from_columns

    table = table_from_columns(mixed, categorical=["auto", "region"])
    return train(table, TrainingConfig(epochs=20, batch_size=32))


@pytest.fixture(scope="session")
def mixed_bundle(mixed_trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `mixed_trained`; tests must not change it."""
    from aetool.export import export_checkpoint

    path = tmp_path_factory.mktemp("bundles") / "mixed"
    export_checkpoint(mixed_trained, path)
    return path
