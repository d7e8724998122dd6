"""The nodes around somebody else's graph: scaling before it, raw units, score and decision after it."""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from aetool.export.batch import BATCH
from aetool.model.scored import SMALLEST, Scaling, Score

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
    """In float64, as scalers compute: float32 would lose the digits of columns far from zero for their spread."""
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
    """The score and what each number of the row contributes to it, named `ends`; see `ScoredModule`."""
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
