"""The nodes around a user's graph: scaling, reshaped outputs, raw units, score and decision."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from aetool.choices import Score
from aetool.errors import ExportError
from aetool.export._dynamic_batch import BATCH
from aetool.model.foreign.output_roles import RECONSTRUCTION_NAMES
from aetool.model.foreign.scored_module import SMALLEST, Scaling

Weights = dict[str, np.ndarray]


def add_scoring(
    model: ModelProto, *, score: Score, threshold: float, scaling: Scaling | None, row_shape: tuple[int, ...]
) -> None:
    """Turn a graph z -> y (and embedding) into features -> reconstruction, score, contribution, is_anomaly.

    The graph's input must be named "z" ("features" without a scaling), the output that has its shape "y"
    ("reconstruction"). Needs opset 13 or later.
    """
    weights: Weights = {
        "aetool/axes": np.array([1], np.int64),
        "aetool/threshold": np.array(threshold, np.float32),
    }
    before, after, residual = _unscaled() if scaling is None else _scaled(scaling, weights)
    kind = np.dtype(np.float32 if scaling is None else np.float64)
    ends = ["score", "contribution"] if scaling is None else ["aetool/score", "aetool/contribution"]
    after += _score(residual, score, row_shape, kind, ends, weights)
    if scaling is not None:
        for wide, end in zip(ends, ["score", "contribution"], strict=True):
            after.append(helper.make_node("Cast", [wide], [end], to=TensorProto.FLOAT))
    after += [
        helper.make_node("LessOrEqual", ["score", "aetool/threshold"], ["aetool/normal"]),
        helper.make_node("Not", ["aetool/normal"], ["is_anomaly"]),
    ]
    graph = model.graph
    inner = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *inner, *after])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    kept = [value for value in graph.output if value.name == "embedding"]
    rows: list[str | int | None] = [BATCH, *row_shape]
    del graph.output[:], graph.input[:]
    graph.input.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, rows))
    graph.output.extend(
        [
            *kept,
            helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT, rows),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [BATCH]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, rows),
            helper.make_tensor_value_info("is_anomaly", TensorProto.BOOL, [BATCH]),
        ]
    )


def _unscaled() -> tuple[list[NodeProto], list[NodeProto], str]:
    residual = helper.make_node("Sub", ["features", "reconstruction"], ["aetool/residual"])
    return [], [residual], "aetool/residual"


def _scaled(scaling: Scaling, weights: Weights) -> tuple[list[NodeProto], list[NodeProto], str]:
    """Scale in float64, as scalers do: float32 would lose digits of columns far from zero for their spread."""
    weights |= {"aetool/mean": scaling.mean, "aetool/scale": scaling.scale}
    before = [
        helper.make_node("Cast", ["features"], ["aetool/wide"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["aetool/wide", "aetool/mean"], ["aetool/centred"]),
        helper.make_node("Div", ["aetool/centred", "aetool/scale"], ["aetool/z"]),
        helper.make_node("Cast", ["aetool/z"], ["z"], to=TensorProto.FLOAT),
    ]
    after = [
        helper.make_node("Cast", ["y"], ["aetool/y"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["aetool/y", "aetool/scale"], ["aetool/scaled"]),
        helper.make_node("Add", ["aetool/scaled", "aetool/mean"], ["aetool/raw"]),
        helper.make_node("Cast", ["aetool/raw"], ["reconstruction"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["aetool/z", "aetool/y"], ["aetool/residual"]),
    ]
    return before, after, "aetool/residual"


def _score(
    residual: str, score: Score, row_shape: tuple[int, ...], kind: np.dtype[Any], ends: list[str], weights: Weights
) -> list[NodeProto]:
    """Add the score and the contribution of each number of the row, named `ends`; see `ScoredModule`."""
    pair = ["aetool/distance", "aetool/distance"]
    nodes = [
        helper.make_node("Abs", [residual], pair[:1])
        if score == "mae"
        else helper.make_node("Mul", [residual, residual], pair[:1])
    ]
    if len(row_shape) > 1:
        pair[0] = "aetool/flat"
        nodes.append(helper.make_node("Flatten", pair[1:], pair[:1], axis=1))
    flat, distance = pair
    nodes.append(helper.make_node("ReduceSum", [flat, "aetool/axes"], ["aetool/total"], keepdims=0))
    if score != "euclidean":
        weights["aetool/share"] = np.asarray(1 / np.prod(row_shape), kind)
        pairs = zip(["aetool/total", distance], ends, strict=True)
        return [*nodes, *(helper.make_node("Mul", [total, "aetool/share"], [end]) for total, end in pairs)]
    weights["aetool/smallest"] = np.asarray(SMALLEST, kind)
    weights["aetool/row axes"] = np.arange(1, len(row_shape) + 1)
    return [
        *nodes,
        helper.make_node("Sqrt", ["aetool/total"], ends[:1]),
        helper.make_node("Max", [ends[0], "aetool/smallest"], ["aetool/divisor"]),
        helper.make_node("Unsqueeze", ["aetool/divisor", "aetool/row axes"], ["aetool/divisors"]),
        helper.make_node("Div", [distance, "aetool/divisors"], ends[1:]),
    ]


# Outputs that do not have the shape of the rows: reshaped if unambiguous, else an error.

Shape = tuple[int, ...]


def in_another_shape(outputs: Mapping[str, NDArray[Any]], rows: NDArray[Any], given: Sequence[str]) -> str | None:
    """Return the output that holds as many numbers as the rows; None where one has their shape, or none is left.

    Args:
        outputs: the model's outputs by name.
        rows: the rows that gave them.
        given: roles that the user gave to outputs, see `aetool.model.foreign.output_roles.recognise`.

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
    """Return why no output can be the reconstruction of the rows, and what to do; None if one can."""
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
    """Return True if shapes differ as layers with strides make them: as many axes, none doubled or halved."""
    return len(shape) == len(row) > 1 and all(b / 2 < a < b * 2 for a, b in zip(shape, row, strict=True))


def _remedy(shape: Shape, row: Shape) -> str:
    """Return advice: crop or pad, and the nearest size that the strides would give back."""
    longer = all(a >= b for a, b in zip(shape, row, strict=True))
    if longer:
        return f"cut the output to {row} inside the model, or use rows of shape {shape} if those are given back"
    return f"pad the output to {row} inside the model (output_padding), or use rows of shape {shape}"


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape[1:] if size != 1]


def _of_rows(shape: Shape) -> str:
    return f"(rows, {', '.join(map(str, shape[1:]))})"
