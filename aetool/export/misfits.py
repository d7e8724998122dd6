"""Outputs that do not have the shape of the rows: reshaped where that is plain, and explained where it is not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from aetool.errors import ExportError
from aetool.model.roles import RECONSTRUCTION_NAMES

Shape = tuple[int, ...]


def in_another_shape(outputs: Mapping[str, NDArray[Any]], rows: NDArray[Any], given: Sequence[str]) -> str | None:
    """Return the output that holds as many numbers as the rows; None where one has their shape, or none is left.

    Args:
        given: what the user says of the outputs, see `aetool.model.roles.recognise`.

    Raises:
        ExportError: the axes would have to change places, or several outputs could be meant.
    """
    if any(value.shape == rows.shape for value in outputs.values()):
        return None
    names = list(outputs)
    words = [word.partition("=") for word in given[: len(names)]]
    named = [name or names[place] for place, (role, _, name) in enumerate(words) if role == "reconstruction"]
    candidates = [name for name in named or names if name in outputs and outputs[name].size == rows.size]
    if len(candidates) > 1:
        likely = [name for name in candidates if name.lower() in RECONSTRUCTION_NAMES]
        candidates = likely or candidates
    if len(candidates) != 1:
        return None
    shape, row = outputs[candidates[0]].shape, rows.shape
    if _without_ones(shape) != _without_ones(row) and sorted(_without_ones(shape)) == sorted(_without_ones(row)):
        raise ExportError(
            f"output {candidates[0]!r} has shape {_of_rows(shape)} for rows of shape {row[1:]}: the same axes in "
            "another order, channels last perhaps; transpose the rows of --data, or the output inside the model"
        )
    return candidates[0]


def why_none_fits(outputs: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> str | None:
    """Say why no output can be the reconstruction of the rows, and what to do; None where one can."""
    row = rows.shape[1:]
    if any(value.shape == rows.shape for value in outputs.values()):
        return None
    found = ", ".join(f"{name} {_of_rows(value.shape)}" for name, value in outputs.items())
    said = f"no output has the shape {row} of the rows, which a reconstruction has; found {found}"
    near = [name for name, value in outputs.items() if _near(value.shape[1:], row)]
    if near:
        pairs = zip(outputs[near[0]].shape[1:], row, strict=True)
        sizes = ", ".join(f"{there} for {here}" for there, here in pairs if there != here)
        return (
            f"{said}: layers with strides or without padding do not give back the size that they took ({sizes}); "
            f"{_remedy(outputs[near[0]].shape[1:], row)}"
        )
    if all(value[:1].size < math.prod(row) for value in outputs.values()):
        return (
            f"{said}: it is half an autoencoder, the encoder, or none at all; give the other half with "
            "--decoder FILE.onnx, or export the whole model"
        )
    return f"{said}; export the model so that it gives the reconstruction"


def _near(shape: Shape, row: Shape) -> bool:
    """Whether shapes differ as those of layers with strides do: as many axes, none doubled or halved."""
    return len(shape) == len(row) > 1 and all(b / 2 < a < b * 2 for a, b in zip(shape, row, strict=True))


def _remedy(shape: Shape, row: Shape) -> str:
    """Crop or pad, and the nearest size that the strides would give back."""
    longer = all(a >= b for a, b in zip(shape, row, strict=True))
    if longer:
        return f"cut the output to {row} inside the model, or use rows of shape {shape} if those are given back"
    return f"pad the output to {row} inside the model (output_padding), or use rows of shape {shape}"


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape[1:] if size != 1]


def _of_rows(shape: Shape) -> str:
    return f"(rows, {', '.join(map(str, shape[1:]))})"
