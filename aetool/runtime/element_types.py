"""The types of an operator's outputs, as far as something depends on them: a size, or whether it may divide."""

from collections.abc import Callable

from aetool.runtime.model_proto import BOOL, FLOAT, INT32, INT64, UINT8, Node, Tensor
from aetool.runtime.shapes import Inputs

UNKNOWN = 0
_Rule = Callable[[Node, Inputs], int]


def types_of_outputs(node: Node, inputs: Inputs, count: int) -> list[int]:
    """TensorProto.DataType of each of `count` outputs; UNKNOWN is always right."""
    first = _FIRST.get(node.operator, _LIKE_THE_FIRST)(node, inputs)
    if node.operator == "Split":
        return [first] * count
    return [first] if count == 1 else [first, *_OTHERS.get(node.operator, ()), *[UNKNOWN] * count][:count]


def _like(place: int) -> _Rule:
    def rule(node: Node, inputs: Inputs) -> int:
        value = inputs[place] if place < len(inputs) else None
        return UNKNOWN if value is None else value.kind

    return rule


def _always(kind: int) -> _Rule:
    return lambda node, inputs: kind


def _attribute(name: str) -> _Rule:
    def rule(node: Node, inputs: Inputs) -> int:
        kind = node.attributes.get(name, UNKNOWN)
        return kind if isinstance(kind, int) else UNKNOWN

    return rule


def _filled(node: Node, inputs: Inputs) -> int:
    value = node.attributes.get("value")
    return value.data_type if isinstance(value, Tensor) else FLOAT


_TRUTH = "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Xor"
_ELSEWHERE = """
QuantizeLinear com.microsoft.QuantizeLinear com.microsoft.QGemm DequantizeLinear com.microsoft.DequantizeLinear
QLinearConv QLinearMatMul com.microsoft.QLinearAdd com.microsoft.QLinearMul
com.microsoft.QLinearLeakyRelu com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax EyeLike
"""
_FLOATS = """
com.microsoft.MatMulIntegerToFloat com.microsoft.DynamicQuantizeMatMul ai.onnx.ml.Scaler ai.onnx.ml.Normalizer
"""
_LIKE_THE_FIRST = _like(0)
_OTHERS = {"TopK": (INT64,), "DynamicQuantizeLinear": (FLOAT, UINT8)}
_FIRST: dict[str, _Rule] = {
    **dict.fromkeys(_TRUTH.split(), _always(BOOL)),
    **dict.fromkeys(_ELSEWHERE.split(), _always(UNKNOWN)),
    **dict.fromkeys(_FLOATS.split(), _always(FLOAT)),
    **dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin"), _always(INT64)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), _always(INT32)),
    **dict.fromkeys(("DequantizeLinear", "CastLike", "Where"), _like(1)),
    "DynamicQuantizeLinear": _always(UINT8),
    "Cast": _attribute("to"),
    "ConstantOfShape": _filled,
    "OneHot": _like(2),
}
"""Of the first output; where an operator is not here, its type is that of its first input."""
