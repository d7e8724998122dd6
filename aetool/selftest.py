"""A bundle against its own golden vectors, through this machine's runtime; needs no PyTorch."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle import GOLDEN, Bundle
from aetool.errors import BundleError, InputError, reason_of
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.manifest import SEGMENTER
from aetool.npz import read_members
from aetool.parity import EXACT, PARTIAL, OutputParity, compare_graph
from aetool.runtime.autoencoder import AutoencoderSession, load
from aetool.runtime.providers import ProviderName

_KNOWN = (
    *("features", "embedding", "reconstruction", "alternative", "score", "is_anomaly", "contribution"),
    *("segment", "distance"),
)
"""Arrays of golden.npz."""
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
        public_key: file of the key whose signature the bundle must bear; None asks for none.
        limits: how much is read, see `load`.

    Returns:
        One record per precision, graph and output; `passed` of each tells the verdict.

    Raises:
        BundleError: a file is missing, changed or foreign, a graph is not let in, or the signature is missing.
        ProviderError: the provider does not work here.
    """
    bundle = Bundle.open_whole(path, limits=limits, public_key=public_key)
    golden = read_golden(bundle)
    records = []
    for precision in bundle.manifest.variants:
        with load(path, provider=provider, precision=precision, limits=limits) as model:
            if model.manifest != bundle.manifest:
                raise BundleError(f"{path}: was replaced by another bundle meanwhile; verify it again")
            records += run_all_graphs(model, golden["features"], golden, in_precision("golden", precision))
    return records


def verify_rows(
    path: str | Path,
    features: NDArray[Any],
    *,
    provider: ProviderName = "auto",
    limits: Limits = DEFAULT_LIMITS,
) -> list[OutputParity]:
    """Compare the bundle's answers for many rows at once with its answers for one row at a time.

    The check that needs neither PyTorch nor golden vectors: it finds a runtime whose results depend on the
    batch, and graphs that disagree with one another.

    Args:
        features: (rows, n_features); the first 256 are used.
        limits: how much is read, see `load`.
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
    tolerances = model.manifest.variants[model.precision].tolerances or EXACT
    records = []
    for graph in model.graphs:
        data = expected["embedding"] if graph == "decoder" else features
        outputs = model.run(graph, data)
        found = {name: outputs[name] for name in outputs if name in expected}  # a later version may give more
        records += compare_graph(
            graph,
            expected,
            found,
            features=features,
            threshold=model.threshold,
            rows=rows,
            tolerances=tolerances,
        )
    return records


def read_golden(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The arrays of golden.npz by name; `features` are inputs, the others are expected outputs.

    Those of PARTIAL may hold the first rows alone, where a row is large.

    Raises:
        BundleError: missing, changed, not what its name says, or larger than the bundle's limits.
    """
    where = bundle.path / GOLDEN
    data = bundle.read(GOLDEN)
    try:
        # The calls themselves are guarded: zipfile, zlib and numpy each have their own way to fail.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            golden = dict(read_members(archive, str(where), bundle.limits, "golden_bytes"))
    except InputError as error:
        raise BundleError(f"{error}; or export the bundle again") from error
    except Exception as error:
        reason = reason_of(error, 200)
        raise BundleError(f"{where}: not an archive of arrays ({reason}); export the bundle again") from error
    for name, array in [*golden.items()]:
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            continue
        del golden[name]  # of a later version: to be ignored
        if name in _KNOWN:
            raise BundleError(
                f"{where}: {name} must hold numbers of up to 8 bytes, found {array.dtype!s:.60}; export the "
                "bundle again"
            )
    rows = golden.get("score", np.empty(0)).size
    row, code = bundle.manifest.input_shape, bundle.manifest.embedding_shape
    shapes = {"features": (rows, *row), "reconstruction": (rows, *row), "score": (rows,), "is_anomaly": (rows,)}
    if code is not None:
        shapes["embedding"] = (rows, *code)
    graphs = bundle.variant("fp32").files
    if "explainer" in graphs:
        shapes["contribution"] = (rows, *row)
    if SEGMENTER in graphs:
        clusters = golden.get("distance", np.empty(0)).shape[1:2] or (0,)
        shapes |= {"segment": (rows,), "distance": (rows, *clusters)}
    if missing := [name for name in shapes if name not in golden]:
        raise BundleError(f"{where}: holds no {', '.join(missing)}; export the bundle again")
    for name, shape in shapes.items():
        found = golden[name].shape
        if name in PARTIAL and 0 < len(golden[name]) < rows:
            found = (rows, *found[1:])
        if found != shape or rows == 0:
            raise BundleError(
                f"{where}: {name} must hold numbers of shape {shape}, 1 or more rows, found {golden[name].dtype} "
                f"of shape {golden[name].shape}; export the bundle again"
            )
    return golden


def in_precision(rows: str, precision: str) -> str:
    """What to call the rows of a comparison."""
    return rows if precision == "fp32" else f"{rows} ({precision})"
