"""A bundle compared with its own golden vectors, on this machine's runtime; needs no PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.checks.parity import EXACT, OutputParity, compare_graph
from aetool.errors import BundleError
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession, load

Arrays = Mapping[str, NDArray[Any]]


def verify_bundle(
    path: str | Path,
    *,
    provider: ProviderName = "auto",
    public_key: str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> list[OutputParity]:
    """Check the hash of every file, then compare every graph in every precision with golden.npz.

    Each precision is held to the tolerances that the manifest gives for it.

    Args:
        path: the bundle's directory.
        provider: the execution provider.
        public_key: file of the key whose signature the bundle must bear; None asks for none.
        limits: bounds on what is read, see `load`.

    Returns:
        One record per precision, graph and output; see its `passed`.

    Raises:
        BundleError: a file is missing, changed or foreign, a graph is refused, or the signature is missing.
        ProviderError: the provider does not work here.
    """
    bundle = Bundle.open_whole(path, limits=limits, public_key=public_key)
    golden = read_golden(bundle)
    records = []
    for precision in bundle.manifest.variants:
        with load(path, provider=provider, precision=precision, limits=limits) as model:
            if model.manifest != bundle.manifest:
                raise BundleError(f"{path}: was replaced by another bundle in the meantime; verify it again")
            records += run_all_graphs(model, golden["features"], golden, in_precision("golden", precision))
            if provider == "auto":
                records += _on_the_core(model, golden, in_precision("golden, a few at a time", precision))
    return records


def _on_the_core(model: AutoencoderSession, golden: Arrays, rows: str) -> list[OutputParity]:
    """Compare what answers for a few rows, where that is aetool's core and another engine answers for more."""
    return [
        record
        for graph in model.graphs
        if 0 < (few := model.native_rows(graph)) < len(golden["features"])
        for record in _compared(model, graph, golden["features"], golden, rows, few)
    ]


def verify_rows(
    path: str | Path,
    features: NDArray[Any],
    *,
    provider: ProviderName = "auto",
    limits: Limits = DEFAULT_LIMITS,
) -> list[OutputParity]:
    """Compare the bundle's results for many rows at once with its results for one row at a time.

    This check needs neither PyTorch nor golden vectors: it finds a runtime whose results depend on the batch, and
    graphs that disagree with one another.

    Args:
        path: the bundle's directory.
        features: (rows, n_features); the first 256 are used.
        provider: the execution provider.
        limits: bounds on what is read, see `load`.
    """
    rows = np.ascontiguousarray(features[:256], dtype=np.float32)
    bundle = Bundle.open(path, limits=limits)
    records = []
    for precision in bundle.manifest.variants:
        with load(path, provider=provider, precision=precision, limits=limits) as model:
            single: dict[str, NDArray[Any]] = {}
            for graph in [graph for graph in model.graphs if graph not in ("encoder", "decoder")]:
                parts = [model.run(graph, rows[i : i + 1]) for i in range(len(rows))]
                parts = parts or [model.run(graph, rows)]
                single |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            records += run_all_graphs(model, rows, single, in_precision("one by one", precision))
    return records


def run_all_graphs(
    model: AutoencoderSession, features: NDArray[Any], expected: Arrays, rows: str
) -> list[OutputParity]:
    """Run every graph of `model` on `features` and compare with `expected` (output name -> reference).

    The tolerances are those of the model's precision.
    """
    return [record for graph in model.graphs for record in _compared(model, graph, features, expected, rows, None)]


def _compared(
    model: AutoencoderSession,
    graph: str,
    features: NDArray[Any],
    expected: Arrays,
    rows: str,
    batch: int | None,
) -> list[OutputParity]:
    """Run a graph, `batch` rows at a time, and compare."""
    data = expected["embedding"] if graph == "decoder" else features
    size = batch or max(1, len(data))
    parts = [model.run(graph, data[start : start + size]) for start in range(0, max(1, len(data)), size)]
    return compare_graph(
        graph,
        expected,
        # A later version may give more.
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name in expected},
        features=features,
        threshold=model.threshold,
        rows=rows,
        tolerances=model.manifest.variants[model.precision].tolerances or EXACT,
    )


def in_precision(rows: str, precision: str) -> str:
    """Return a name for the rows of a comparison."""
    return rows if precision == "fp32" else f"{rows} ({precision})"
