"""The calibrator as a graph of plain ONNX operators: score -> p_value, and probability where there were labels."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.decisions._tail import ParetoTail
from aetool.onnx_check.build import NewNode, build

LEAST = float(np.finfo(np.float32).tiny)
"""Smallest p-value, so that none is 0."""
_LARGEST = float(np.finfo(np.float32).max)
_INT64 = 7  # TensorProto.DataType
_FLOAT = 1


class Logistic(NamedTuple):
    """Probability of an anomaly: 1 / (1 + exp(-(slope * log(score) + offset)))."""

    slope: float
    offset: float


def calibrator(
    scores: NDArray[np.float32],
    tail: ParetoTail | None,
    logistic: Logistic | None,
    *,
    opset: int,
    ir_version: int,
    producer: str,
    metadata: Mapping[str, str],
) -> bytes:
    """Return the serialised graph for ascending `scores` of normal rows.

    The p-value is (1 + number of scores >= score) / (1 + number of scores), found by bisection; beyond the largest
    score it falls with the tail. A score that is not a number counts as the largest number.
    """
    nodes, constants = _p_value(scores, tail)
    outputs = ["p_value"]
    if logistic is not None:
        outputs.append("probability")
        constants |= {"slope": _float(logistic.slope), "offset": _float(logistic.offset)}
        nodes += [
            NewNode("Max", ("known", "least"), "positive"),
            NewNode("Log", ("positive",), "log"),
            NewNode("Mul", ("log", "slope"), "sloped"),
            NewNode("Add", ("sloped", "offset"), "logit"),
            NewNode("Sigmoid", ("logit",), "probability"),
        ]
    return build(
        "calibrator",
        nodes,
        constants,
        ["score"],
        outputs,
        opset=opset,
        ir_version=ir_version,
        producer=producer,
        metadata={**metadata, "graph": "calibrator", "scores": str(len(scores))},
    )


def _p_value(
    scores: NDArray[np.float32], tail: ParetoTail | None
) -> tuple[list[NewNode], dict[str, NDArray[Any]]]:
    bits = max(1, math.ceil(math.log2(len(scores) + 1)))
    table = np.full(2**bits - 1, _LARGEST, np.float32)
    table[: len(scores)] = scores
    constants: dict[str, NDArray[Any]] = {
        "largest": _float(_LARGEST),
        "least": _float(LEAST),
        "scores": table,
        "one": np.array(1, np.int64),
        "zero": np.array(0, np.int64),
        "count": _float(len(scores)),
        "more": _float(len(scores) + 1),
    }
    nodes = [
        NewNode("IsNaN", ("score",), "unknown"),
        NewNode("Where", ("unknown", "largest", "score"), "number"),
        NewNode("Min", ("number", "largest"), "known"),
    ]
    below = "zero"
    for bit in reversed(range(bits)):
        constants[f"step {bit}"] = np.array(2**bit, np.int64)
        nodes += [
            NewNode("Add", (below, f"step {bit}"), f"next {bit}"),
            NewNode("Sub", (f"next {bit}", "one"), f"place {bit}"),
            NewNode("Gather", ("scores", f"place {bit}"), f"there {bit}"),
            NewNode("Less", (f"there {bit}", "known"), f"is below {bit}"),
            NewNode("Where", (f"is below {bit}", f"next {bit}", below), f"below {bit}"),
        ]
        below = f"below {bit}"
    nodes += [
        NewNode("Cast", (below,), "below", {"to": _FLOAT}),
        NewNode("Min", ("below", "count"), "bounded"),
        NewNode("Sub", ("more", "bounded"), "at or above"),
        NewNode("Div", ("at or above", "more"), "conformal"),
    ]
    if tail is None:
        return [*nodes, NewNode("Max", ("conformal", "least"), "p_value")], constants
    constants |= {
        "highest": _float(scores[-1]),
        "rate": _float(tail.shape / tail.scale),
        "unit": _float(1),
        "nothing": _float(0),
        "power": _float(-1 / tail.shape),
    }
    nodes += [
        NewNode("Sub", ("known", "highest"), "beyond"),
        NewNode("Max", ("beyond", "nothing"), "excess"),
        NewNode("Mul", ("excess", "rate"), "relative"),
        NewNode("Add", ("relative", "unit"), "shifted"),
        NewNode("Max", ("shifted", "least"), "base"),
        NewNode("Log", ("base",), "log base"),
        NewNode("Mul", ("log base", "power"), "exponent"),
        NewNode("Exp", ("exponent",), "survival"),
        NewNode("Mul", ("conformal", "survival"), "extended"),
        NewNode("Max", ("extended", "least"), "p_value"),
    ]
    return nodes, constants


def _float(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)
