"""Fixtures that more than one room's tests use. No import of torch here: tests/runtime runs without it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
