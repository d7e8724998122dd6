"""The golden vectors of a bundle: inputs, and the outputs that every runtime must give for them."""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.manifest import SEGMENTER
from aetool.bundle.npz import read_members
from aetool.errors import BundleError, InputError, reason_of

PARTIAL = ("reconstruction", "contribution")
"""Outputs as large as their row, for which golden.npz may hold the first rows alone."""
_KNOWN = (
    *("features", "embedding", "reconstruction", "alternative", "score", "is_anomaly", "contribution"),
    *("segment", "distance"),
)
"""Arrays of golden.npz."""


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return up to `most` indexes, evenly from the first of `count` rows to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def read_golden(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """Read the arrays of golden.npz by name; `features` are inputs, the others are expected outputs.

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
        actual = golden[name].shape
        if name in PARTIAL and 0 < len(golden[name]) < rows:
            actual = (rows, *actual[1:])
        if actual != shape or rows == 0:
            raise BundleError(
                f"{where}: {name} must hold numbers of shape {shape}, 1 or more rows, found {golden[name].dtype} "
                f"of shape {golden[name].shape}; export the bundle again"
            )
    return golden
