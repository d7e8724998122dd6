"""Fixtures that more than one room's tests use. No import of torch here: tests/runtime runs without it."""

import functools
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


def pytest_runtest_setup() -> None:
    """Let torch's exporter keep the tables that it makes anew, and alike, for each export: half of its time."""
    if "torch.onnx._internal.exporter._core" in sys.modules:
        _keep_tables()


@functools.cache
def _keep_tables() -> None:
    from torch._export import utils
    from torch.export import exported_program
    from torch.onnx._internal.exporter import _decomp, _registration

    registry = _registration.ONNXRegistry
    registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))  # type: ignore[method-assign]
    utils._materialize_cpp_cia_ops = functools.cache(utils._materialize_cpp_cia_ops)
    table_of = functools.cache(lambda operators: _decomp_table(set(operators)))
    _decomp_table = _decomp.create_onnx_friendly_decomposition_table
    _decomp.create_onnx_friendly_decomposition_table = lambda operators: dict(table_of(frozenset(operators)))
    override = exported_program._override_composite_implicit_decomp
    overrides = functools.cache(lambda operators: _Overrides(override, dict(operators)))
    exported_program._override_composite_implicit_decomp = lambda given: overrides(frozenset(given.items()))


class _Overrides:
    """What torch registers on a thousand operators for the time of an export, made once and then put in place."""

    def __init__(self, override: Any, operators: dict[Any, Any]) -> None:
        from torch._subclasses.fake_impls import op_implementations_dict

        self.fakes = op_implementations_dict
        with override(operators):
            self.kernels = {operator: operator.py_kernels.copy() for operator in operators}
            self.made = {operator: self.fakes[operator] for operator in operators if operator in self.fakes}

    def __enter__(self) -> None:
        self.before = {operator: operator.py_kernels for operator in self.kernels}
        self._put({operator: kernels.copy() for operator, kernels in self.kernels.items()})
        self.fakes.update(self.made)

    def __exit__(self, *_: object) -> None:
        self._put(self.before)
        for operator in self.kernels:
            self.fakes.pop(operator, None)

    def _put(self, kernels: dict[Any, Any]) -> None:
        for operator, those in kernels.items():
            operator.py_kernels = those
            operator._dispatch_cache.clear()


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
