"""The repository's bundle, a copy to calibrate, and the table that it was trained on half of."""

import numpy as np
import pytest
from app_fixtures import bundle, exported, rewrite  # noqa: F401


@pytest.fixture(scope="session")
def table():
    """(rows, labels) of scikit-learn's breast-cancer table; malignant is the anomaly."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return data.data, data.target == 0


@pytest.fixture(scope="session")
def normal(table):
    """Benign rows that were not trained on, (179, 30)."""
    rows, labels = table
    benign = np.flatnonzero(~labels)
    return rows[benign[len(benign) // 2 :]]
