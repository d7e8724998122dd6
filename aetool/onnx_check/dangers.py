"""Nodes that would crash or mislead onnxruntime 1.31, as a table with the reason for each.

Found by running operators with odd inputs and attributes in processes of their own (tests/faults/graph_fuzzer.py).
"""

from collections.abc import Callable
from typing import NamedTuple

from aetool.onnx_check._shape_inputs import Inputs, Rows
from aetool.onnx_check.model import BFLOAT16, DOUBLE, FLOAT, FLOAT16, Node

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
)
FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)


class Danger(NamedTuple):
    """One kind of dangerous node."""

    operators: frozenset[str]
    """Empty for every operator."""
    found: Callable[[Node, Inputs], bool]
    reason: str


def danger(node: Node, inputs: Inputs) -> str | None:
    """Return why a node must not run; None if it may."""
    for each in _BY_OPERATOR.get(node.operator, _OF_ALL):
        if each.found(node, inputs):
            return each.reason
    return None


_MAY_BE_LEFT_OUT = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "QuantizeLinear"), (2,)),
    **{f"Reduce{how}": (1,) for how in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")},
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (2, 3)),
    "ReduceSumSquare": (1,),
    "DequantizeLinear": (2,),
    "QLinearConv": (8,),
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "Pad": (2, 3),
    "Resize": (1, 2, 3),
    "Slice": (3, 4),
    "LSTM": (3, 4, 5, 6, 7),
    "GRU": (3, 4, 5),
    "RNN": (3, 4, 5),
    "Trilu": (1,),
    "com.microsoft.QGemm": (6, 7, 8),
    "com.microsoft.QLinearAdd": (2, 5, 7),
    "com.microsoft.QLinearMul": (2, 5, 7),
    "com.microsoft.QLinearLeakyRelu": (2, 4),
    "com.microsoft.QLinearSigmoid": (2, 4),
    "com.microsoft.QLinearSoftmax": (2, 4),
    "com.microsoft.MatMulIntegerToFloat": (4, 5, 6),
    "com.microsoft.DynamicQuantizeMatMul": (3, 4),
    "com.microsoft.MatMulNBits": (3, 4, 5),
}
"""Operator -> inputs that may be named ""."""


def _left_out(node: Node, inputs: Inputs) -> bool:
    allowed = _MAY_BE_LEFT_OUT.get(node.operator, ())
    return None in inputs and any(value is None and place not in allowed for place, value in enumerate(inputs))


def _overflows(node: Node, inputs: Inputs) -> bool:
    """Decide whether integers may be divided by -1: the smallest one has no such quotient."""
    a, b = (*inputs, None, None)[:2]
    if a is None or b is None or a.kind in FLOATS:
        return False
    if b.content is not None:
        return any(not isinstance(side, Rows) and side in (-1, 0) for side in b.content.flat)
    return True


def _trains(node: Node, inputs: Inputs) -> bool:
    if node.operator == "BatchNormalization":
        return len([output for output in node.outputs if output]) > 1 or bool(node.attributes.get("training_mode"))
    mode = inputs[2] if len(inputs) > 2 else None
    return mode is not None and (mode.content is None or any(side != 0 for side in mode.content.flat))


_QUANTISED = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (0,)),
    **dict.fromkeys(("com.microsoft.QuantizeLinear", "com.microsoft.DequantizeLinear"), (0,)),
    **{f"com.microsoft.QLinear{how}": (0,) for how in ("LeakyRelu", "Sigmoid", "Softmax")},
    **dict.fromkeys(("QLinearMatMul", "QLinearConv", "com.microsoft.QGemm"), (0, 3)),
    **dict.fromkeys(("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"), (0, 3)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (0, 1)),
    **dict.fromkeys(("com.microsoft.MatMulIntegerToFloat", "com.microsoft.DynamicQuantizeMatMul"), (0, 1)),
}
"""Operator -> inputs that are data; the others are scales, zero points and biases."""


def _no_scale(node: Node, inputs: Inputs) -> bool:
    data = _QUANTISED[node.operator]
    scales = [value for place, value in enumerate(inputs) if value is not None and place not in data]
    return any(side == 0 or isinstance(side, Rows) for value in scales for side in value.shape)


def _nothing_to_step(node: Node, inputs: Inputs) -> bool:
    return any(side == 0 for value in inputs[:3] if value is not None for side in value.shape)


def _of(*operators: str) -> frozenset[str]:
    return frozenset(operators)


DANGERS = (
    Danger(
        _of("GRU", "LSTM", "RNN"),
        _nothing_to_step,
        "has no step, row or state: onnxruntime throws in a thread of its own, and dies by SIGABRT",
    ),
    Danger(_of("BatchNormalization", "Dropout"), _trains, "is in training mode"),
    Danger(
        frozenset(),
        _left_out,
        "leaves out an input that it needs: onnxruntime reads it nonetheless, and dies by SIGSEGV "
        "(Max, Min, Sum, Mean, LayerNormalization)",
    ),
    Danger(
        frozenset(_QUANTISED),
        _no_scale,
        "has a scale or zero point for each row, or none: onnxruntime reads the first, and dies by SIGSEGV",
    ),
    Danger(
        _of("Div", "Mod"),
        _overflows,
        "divides integers by what may be -1 or 0: of the smallest integer onnxruntime dies by SIGFPE",
    ),
    Danger(
        _of("Conv", "ConvTranspose", "ConvInteger", "QLinearConv"),
        lambda node, inputs: node.attributes.get("group", 1) < 1,
        "has no group: onnxruntime divides by their number, and dies by SIGFPE",
    ),
)
_OF_ALL = [each for each in DANGERS if not each.operators]
_BY_OPERATOR = {
    name: [each for each in DANGERS if not each.operators or name in each.operators]
    for name in frozenset().union(*(each.operators for each in DANGERS))
}
