"""The onnxruntime release that loads an opset, and the conversion of a graph to an older opset."""

import reprlib

import onnx
from onnx import ModelProto, version_converter

from aetool.errors import ExportError, InputError, reason_of

# Highest opset and IR version that each release loads, measured with the releases on PyPI: a one-node model
# stamped with each number, loaded and run on the CPU (releases not listed behave as the one before).
RELEASES: dict[tuple[int, int], tuple[int, int]] = {
    (1, 15): (19, 9),
    (1, 16): (19, 9),
    (1, 17): (20, 9),
    (1, 18): (21, 10),
    (1, 19): (21, 10),
    (1, 20): (21, 10),
    (1, 21): (22, 10),
    (1, 22): (22, 10),
    (1, 23): (23, 11),
    (1, 24): (25, 13),
    (1, 25): (26, 13),
    (1, 28): (26, 13),
    (1, 31): (26, 13),
    (1, 32): (28, 14),
}
NATIVE_OPSET = 18
"""Opset that torch's exporter writes without a conversion; it also writes this, silently, when asked for an
older one."""
OLDEST_OPSET = 13
"""The first in which every operator that aetool writes takes its axes as input."""
OPSETS = range(OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1)
"""Supported opsets: torch writes 18 or later, earlier ones are converted from there."""


def limits(release: str) -> tuple[int, int]:
    """Return the highest opset and IR version that onnxruntime `release` ("1.17" or "1.17.3") loads.

    Raises:
        InputError: not a release, or one older than the table.
    """
    parts = release.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise InputError(f"onnxruntime-min: expected a release such as 1.17, found {release!r}")
    wanted = (int(parts[0]), int(parts[1]))
    known = [version for version in RELEASES if version <= wanted]
    if not known:
        oldest = ".".join(map(str, min(RELEASES)))
        raise InputError(f"onnxruntime-min: {release} is older than {oldest}, the oldest that was measured")
    return RELEASES[max(known)]


def target(opset: int | None, onnxruntime_min: str | None) -> tuple[int, int | None]:
    """Return the opset to write, and the highest IR version (None: any), for the user's request.

    Raises:
        ExportError: no such opset, or one newer than that onnxruntime loads.
    """
    if opset is not None:
        require_opset_known(opset)
    if onnxruntime_min is None:
        return opset or NATIVE_OPSET, None
    max_opset, max_ir = limits(onnxruntime_min)
    if opset is not None and opset > max_opset:
        raise ExportError(
            f"opset {opset} was requested, onnxruntime {onnxruntime_min} loads up to {max_opset}; leave it out"
        )
    return opset or min(NATIVE_OPSET, max_opset), max_ir


def require_opset_known(opset: int) -> None:
    """Refuse early what can only fail.

    Raises:
        ExportError: no such opset, or too old.
    """
    if not isinstance(opset, int) or isinstance(opset, bool) or opset not in OPSETS:
        raise ExportError(
            f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {reprlib.repr(opset)}; choose another"
        )


def bring_down(model: ModelProto, opset: int, max_ir: int | None = None) -> ModelProto:
    """Return `model` in `opset`, and with an IR version of at most `max_ir`.

    Raises:
        ExportError: an operator has no form in that opset, or the converter wrote something else.
    """
    current = standard_opset(model)
    if current != opset:
        require_opset_known(opset)
        _drop_defaults(model)
        try:
            model = version_converter.convert_version(model, opset)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise ExportError(
                f"opset {opset}: the graph (opset {current}) cannot be converted: {reason_of(error, 200)}; choose "
                f"a --opset nearer to {current}"
            ) from error
        if standard_opset(model) != opset:
            raise ExportError(f"opset {opset} was requested, the converter wrote {standard_opset(model)}")
    if max_ir is not None and model.ir_version > max_ir:
        # Later IR versions add types, which only operators of later opsets take: the opset keeps them out.
        model.ir_version = max_ir
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.checker.ValidationError as error:
            raise ExportError(
                f"IR version {max_ir}: the graph needs a later one: {reason_of(error, 200)}"
            ) from error
    return model


def _drop_defaults(model: ModelProto) -> None:
    """Remove default values of attributes that opset 17 lacks: the converter keeps them."""
    for node in model.graph.node:
        kept = [a for a in node.attribute if a.name != "noop_with_empty_axes" or a.i]
        if len(kept) < len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)


def standard_opset(model: ModelProto) -> int:
    """Return the opset of the standard operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
