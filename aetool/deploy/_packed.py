"""A model packed as text: one module of JavaScript, which needs no other file, or JSON inside a page."""

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.golden import PARTIAL, evenly, read_golden
from aetool.bundle.manifest import MANIFEST
from aetool.checks.parity import column_scale, value_range
from aetool.deploy._calibration import CALIBRATION, calibration_of
from aetool.deploy._deployment import asset

GOLDEN_BYTES = 16_384
"""Golden rows that travel with a page, in bytes before they are packed."""
_GZIP = 31
"""zlib's `wbits` for the format of gzip."""
_FEWEST = 2
"""Rows of which the reconstruction travels, at least."""


def core_files(
    bundle: Bundle, programs: bytes, precision: str = "fp32", *, golden_bytes: int | None = GOLDEN_BYTES
) -> dict[str, bytes]:
    """Return what the core needs of a bundle: its program, the graphs, the manifest, golden rows and p-values.

    Args:
        bundle: the bundle.
        programs: all graphs, as `program_file` makes them.
        precision: that of the graphs.
        golden_bytes: room for golden rows; None for all.
    """
    variant, files = bundle.manifest.variants[precision], {}
    calibration = calibration_of(bundle, precision)
    if calibration is not None:
        files[CALIBRATION] = calibration.to_json().encode()
    variant = variant._replace(calibrator=CALIBRATION if files else None)
    series = bundle.manifest.series
    if series is not None:  # a package has no fp32 to tell the threshold of its rows by
        series = series._replace(row_threshold=bundle.manifest.row_threshold(precision))
    alone = bundle.manifest._replace(variants={precision: variant}, files={}, series=series)
    return {
        "core.wasm": asset("javascript/core.wasm"),
        "model.core": programs,
        MANIFEST: alone.to_json().encode(),
        GOLDEN: golden_rows(bundle, golden_bytes),
        **files,
    }


def packed(content: bytes) -> str:
    """Return a file packed by gzip, in base64: by the strategy that suits it, for weights hardly repeat."""
    found = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE):
        packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP, zlib.DEF_MEM_LEVEL, strategy)
        found.append(packer.compress(content) + packer.flush())
    return base64.b64encode(min(found, key=len)).decode()


def packed_module(files: Mapping[str, bytes]) -> bytes:
    """Return `model.mjs`: files, each packed, in a module."""
    lines = [f'  "{name}": "{packed(content)}",\n' for name, content in files.items()]
    head = "/** The model, made by aetool deploy: each file packed by gzip, in base64. */\n"
    return f"{head}export const packed = {{\n{''.join(lines)}}};\n".encode()


def golden_rows(bundle: Bundle, room: int | None) -> bytes:
    """Return golden.npz in float32 with as many rows as there is room for, and the ranges of all of them.

    The rows are taken evenly by score; outputs that are as large as a row are kept for the first ones.
    """
    golden = read_golden(bundle)
    row, wide = (4 * _numbers(golden, names) for names in (("features", "embedding"), PARTIAL))
    count, first = len(golden["score"]), len(golden[PARTIAL[0]])
    kept = np.arange(count)
    if room is not None:
        first = min(first, max(_FEWEST, room // 4 // wide))
        more = max(0, (room - first * wide) // row - first)
        kept = np.union1d(kept[:first], np.argsort(golden["score"])[evenly(count, more)])
    arrays = {name: values[kept] for name, values in golden.items() if len(values) == count}
    for name in (*PARTIAL, "alternative"):
        if name in golden:
            arrays[name] = golden[name][:first]
    for name in ("embedding", "score", "contribution"):
        if name in golden:
            arrays[f"scale_{name}"] = np.array([value_range(golden[name])])
    reconstruction = golden["reconstruction"]
    if reconstruction.ndim == 2:  # of larger rows golden.mjs takes one range for all
        arrays["scale_reconstruction"] = column_scale(golden["features"][: len(reconstruction)], reconstruction)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{name: _narrow(values) for name, values in arrays.items()})
    return stream.getvalue()


def _numbers(golden: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> int:
    return max(1, sum(int(golden[name][0].size) for name in names if name in golden))


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32) if values.dtype == np.float64 else values
