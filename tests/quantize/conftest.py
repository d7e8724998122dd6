"""Bundles whose rows are known: made of data that scikit-learn ships or that is drawn here."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aetool.checks.fidelity import Budget
from aetool.quantize import QuantizeOptions

QUICK = QuantizeOptions(rounds=1, seconds=0.01)
LOOSE = Budget(max_auroc_drop=None, max_flips=None, min_speedup=0.0)


@pytest.fixture(scope="session")
def quick():
    """Options that measure the speed for a moment."""
    return QUICK


@pytest.fixture(scope="session")
def loose():
    """A budget without limits."""
    return LOOSE


@pytest.fixture
def copied(tmp_path):
    """A bundle of the session, copied so that a test may change it."""

    def copy(source, name="copy"):
        shutil.copytree(source, tmp_path / name)
        return tmp_path / name

    return copy


@pytest.fixture(scope="session")
def uneven_rows():
    """(rows, 12) with columns of units from 1e-3 to 1e6, one constant, and (rows,) labels."""
    random = np.random.default_rng(3)
    hidden = random.normal(size=(3000, 3))
    rows = hidden @ random.normal(size=(3, 12)) + 0.05 * random.normal(size=(3000, 12))
    labels = np.arange(3000) % 20 == 7
    rows[labels] += random.normal(0, 1.5, size=(int(labels.sum()), 12))
    rows = rows * 10.0 ** np.array([6, 0, 0, 0, -3, 0, 0, 2, 0, 0, 0, 0]) + np.array([0] * 7 + [1e4] + [0] * 4)
    rows[:, 5] = 7.0
    return rows.astype(np.float32), labels


@pytest.fixture(scope="session")
def uneven(uneven_rows, make_table, tmp_path_factory) -> Path:
    """Trained on the normal rows of `uneven_rows`; tests must not change it."""
    from aetool.export import ExportOptions, export_checkpoint
    from aetool.model import AutoencoderConfig, TrainingConfig, train

    rows, labels = uneven_rows
    trained = train(
        make_table(rows[~labels]),
        TrainingConfig(epochs=15, batch_size=64, score="reconstruction"),
        AutoencoderConfig(12, 4, hidden_dims=(64, 32)),
    )
    path = tmp_path_factory.mktemp("bundles") / "uneven"
    export_checkpoint(trained, path, ExportOptions(contamination=0.05))
    return path


@pytest.fixture(scope="session")
def quantized(uneven, uneven_rows, tmp_path_factory):
    """`uneven` with every precision, and what `quantize` gave for each; tests must not change it."""
    from aetool.quantize import PRECISIONS, quantize

    path = tmp_path_factory.mktemp("bundles") / "quantized"
    shutil.copytree(uneven, path)
    made = {p: quantize(path, *uneven_rows, precision=p, options=QUICK, budget=LOOSE) for p in PRECISIONS}
    return path, made
