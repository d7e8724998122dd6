"""Shape rules: the shapes that an operator gives for those it takes, by the ONNX operator reference.

Only operators listed here may be in a deployed graph: the size of every result is known before onnxruntime is
asked to make room for it. A rule that meets what its operator does not allow raises ValueError, TypeError,
IndexError or KeyError.
"""

from aetool.onnx_check._image_shapes import conv_transposed, convolved, pooled, resized
from aetool.onnx_check._shape_inputs import (
    Inputs,
    Rows,
    Rule,
    Shape,
    Side,
    added,
    axes_of,
    axis_of,
    broadcast,
    flag,
    given,
    integers,
    product,
    quotient,
    shape_of,
    sizes,
    stated,
    whole,
)
from aetool.onnx_check.model import FLOAT, INT32, INT64, Node


def _first(node: Node, inputs: Inputs) -> list[Shape]:
    return [shape_of(inputs, 0)] * (2 if node.operator == "Dropout" else 1)


def _all_broadcast(node: Node, inputs: Inputs) -> list[Shape]:
    return [broadcast(*(value.shape for value in inputs if value is not None))]


def _broadcast_of(*places: int) -> Rule:
    return lambda node, inputs: [broadcast(*(shape_of(inputs, place) for place in places))]


def _matmul(a: int = 0, b: int = 1) -> Rule:
    def rule(node: Node, inputs: Inputs) -> list[Shape]:
        left, right = shape_of(inputs, a), shape_of(inputs, b)
        if not left or not right:
            raise ValueError("a scalar has no rows")
        wide_left, wide_right = left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1)
        if flag(node, "transA"):
            wide_left = (*wide_left[:-2], wide_left[-1], wide_left[-2])
        if flag(node, "transB"):
            wide_right = (*wide_right[:-2], wide_right[-1], wide_right[-2])
        if wide_left[-1] != wide_right[-2]:
            raise ValueError(f"{stated(left)} and {stated(right)} cannot be multiplied")
        result = broadcast(wide_left[:-2], wide_right[:-2])
        result += wide_left[-2:-1] if len(left) > 1 else ()
        return [result + (wide_right[-1:] if len(right) > 1 else ())]

    return rule


def _matmul_n_bits(node: Node, inputs: Inputs) -> list[Shape]:
    """Return the shape of com.microsoft.MatMulNBits: N columns, each packed in a row of the second input."""
    columns = shape_of(inputs, 1)[0]
    if columns != node.attributes["N"]:
        raise ValueError(f"N {node.attributes['N']} of {columns} packed columns")
    return [(*shape_of(inputs, 0)[:-1], columns)]


def _quantised_dynamically(node: Node, inputs: Inputs) -> list[Shape]:
    return [shape_of(inputs, 0), (), ()]


def _reduced(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    axes = integers(inputs, 1, node, "axes")
    if not axes:
        if flag(node, "noop_with_empty_axes"):
            return [shape]
        axes = list(range(len(shape)))
    gone = axes_of(axes, len(shape))
    if flag(node, "keepdims", 1):
        return [tuple(1 if i in gone else side for i, side in enumerate(shape))]
    return [tuple(side for i, side in enumerate(shape) if i not in gone)]


def _arg_reduced(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    axis = axis_of(node.attributes.get("axis", 0), len(shape))
    return [shape[:axis] + ((1,) if flag(node, "keepdims", 1) else ()) + shape[axis + 1 :]]


def _global_pool(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    return [shape[:2] + (1,) * len(shape[2:])]


def _shape_operator(node: Node, inputs: Inputs) -> list[Shape]:
    rank = len(shape_of(inputs, 0))
    return [(len(range(rank)[node.attributes.get("start", 0) : node.attributes.get("end", rank)]),)]


def _scalar(node: Node, inputs: Inputs) -> list[Shape]:
    return [()]


def _reshape(node: Node, inputs: Inputs) -> list[Shape]:
    shape, wanted = shape_of(inputs, 0), sizes(inputs, 1, node, "shape")
    if wanted is None:
        raise ValueError("no shape is given")
    if not flag(node, "allowzero"):
        wanted = [shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    if wanted.count(-1) == 1:
        free = wanted.index(-1)
        wanted[free] = quotient(product(shape), product(wanted[:free] + wanted[free + 1 :]))
    if product(wanted) != product(shape):
        raise ValueError(f"{stated(shape)} cannot take the shape {stated(tuple(wanted))}")
    return [tuple(wanted)]


def _flatten(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    axis = node.attributes.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        raise ValueError(f"axis {axis} of {len(shape)}")
    return [(product(shape[:axis]), product(shape[axis:]))]


def _squeeze(node: Node, inputs: Inputs) -> list[Shape]:
    shape, axes = shape_of(inputs, 0), integers(inputs, 1, node, "axes")
    if not axes:  # onnxruntime takes an empty list for none
        axes = [i for i, side in enumerate(shape) if side == 1]
        if any(isinstance(side, Rows) for side in shape):
            raise ValueError("which axes go depends on the number of rows; name them")
    gone = axes_of(axes, len(shape))
    if any(shape[i] != 1 for i in gone):
        raise ValueError(f"{stated(shape)} has more than one place on the axes {gone}")
    return [tuple(side for i, side in enumerate(shape) if i not in gone)]


def _unsqueeze(node: Node, inputs: Inputs) -> list[Shape]:
    shape, axes = shape_of(inputs, 0), integers(inputs, 1, node, "axes") or []
    result = list(shape)
    for axis in sorted(axes_of(axes, len(shape) + len(axes))):
        result.insert(axis, 1)
    return [tuple(result)]


def _transpose(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    order = node.attributes.get("perm") or list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"{order} is no order of {len(shape)} axes")
    return [tuple(shape[i] for i in order)]


def _concat(node: Node, inputs: Inputs) -> list[Shape]:
    shapes = [shape_of(inputs, i) for i in range(len(inputs))]
    axis = axis_of(node.attributes["axis"], len(shapes[0]))
    if len({(*shape[:axis], None, *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise ValueError(f"shapes {list(map(stated, shapes[:9]))} differ beside axis {axis}")
    return [(*shapes[0][:axis], added([shape[axis] for shape in shapes]), *shapes[0][axis + 1 :])]


def _split(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    axis = axis_of(node.attributes.get("axis", 0), len(shape))
    side, parts = whole(shape[axis]), integers(inputs, 1, node, "split")
    if parts is None:
        count = node.attributes.get("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise ValueError(f"{count:,} parts of {len(node.outputs)} outputs")
        size = -(-side // count)
        parts = [min(size, side - i * size) for i in range(count)]
    if len(parts) != len(node.outputs) or sum(parts) != side or min(parts) < 0:
        raise ValueError(f"parts {parts[:9]} of {side}")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in parts]


def _sliced(node: Node, inputs: Inputs) -> list[Shape]:
    shape = list(shape_of(inputs, 0))
    starts, ends = sizes(inputs, 1, node, "starts"), sizes(inputs, 2, node, "ends")
    if starts is None or ends is None:
        raise ValueError("no starts or ends")
    axes = axes_of(integers(inputs, 3, node, "axes") or range(len(starts)), len(shape))
    steps = integers(inputs, 4, node, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        side = shape[axis]
        if isinstance(side, Rows):  # all of them, or how many depends on how many there are
            if start != 0 or step != 1 or (end != side and whole(end) < _TO_THE_END):
                raise ValueError("it takes a part of the rows")
        else:
            shape[axis] = len(range(*slice(whole(start), whole(end), step).indices(side)))
    return [tuple(shape)]


_TO_THE_END = 2**31 - 1
"""Default that exporters write; more rows than there ever are."""


def _gather(node: Node, inputs: Inputs) -> list[Shape]:
    shape = shape_of(inputs, 0)
    axis = axis_of(node.attributes.get("axis", 0), len(shape))
    return [shape[:axis] + shape_of(inputs, 1) + shape[axis + 1 :]]


def _gather_nd(node: Node, inputs: Inputs) -> list[Shape]:
    shape, indices, batch = shape_of(inputs, 0), shape_of(inputs, 1), node.attributes.get("batch_dims", 0)
    place = batch + whole(indices[-1])
    if not 0 <= batch < len(indices) or place > len(shape) or shape[:batch] != indices[:batch]:
        raise ValueError(f"places {stated(indices)} of {stated(shape)}")
    return [indices[:-1] + shape[place:]]


def _second(node: Node, inputs: Inputs) -> list[Shape]:
    return [shape_of(inputs, 1)]


def _expand(node: Node, inputs: Inputs) -> list[Shape]:
    return [broadcast(shape_of(inputs, 0), tuple(sizes(inputs, 1, node, "") or ()))]


def _tile(node: Node, inputs: Inputs) -> list[Shape]:
    repeats = sizes(inputs, 1, node, "") or ()
    return [tuple(product(pair) for pair in zip(shape_of(inputs, 0), repeats, strict=True))]


def _pad(node: Node, inputs: Inputs) -> list[Shape]:
    shape = list(shape_of(inputs, 0))
    pads = integers(inputs, 1, node, "pads") or []
    axes = axes_of(integers(inputs, 3, node, "") or range(len(shape)), len(shape))
    if len(pads) != 2 * len(axes):
        raise ValueError(f"{len(pads)} pads of {len(axes)} axes")
    for i, axis in enumerate(axes):
        before, after = pads[i], pads[i + len(axes)]
        if before or after:
            shape[axis] = whole(shape[axis]) + before + after
    return [tuple(shape)]


def _constant_of_shape(node: Node, inputs: Inputs) -> list[Shape]:
    return [tuple(sizes(inputs, 0, node, "") or ())]


def _ranged(node: Node, inputs: Inputs) -> list[Shape]:
    kind = given(inputs, 0).kind
    if kind == FLOAT:
        return [(len(range(*(_integer_in_float(inputs, i) for i in range(3)))),)]
    if kind not in (INT32, INT64):
        raise ValueError("the size of its output depends on how its numbers are rounded")
    start, limit, step = ((sizes(inputs, i, node, "") or [])[0] for i in range(3))
    if start == 0 and step == 1 and isinstance(limit, Rows):
        return [(limit,)]
    return [(len(range(whole(start), whole(limit), whole(step))),)]


def _integer_in_float(inputs: Inputs, index: int) -> int:
    """Return a bound or step of a range in float32, small enough that differences and multiples are exact too."""
    content = given(inputs, index).content
    number = None if content is None else content.item()
    if number is None or number != int(number) or abs(number) > _EXACT_IN_FLOAT:
        raise ValueError("the size of its output depends on how its numbers are rounded")
    return int(number)


_EXACT_IN_FLOAT = 1 << 23


def _one_hot(node: Node, inputs: Inputs) -> list[Shape]:
    shape, depth = shape_of(inputs, 0), integers(inputs, 1, node, "")
    axis = axis_of(node.attributes.get("axis", -1), len(shape) + 1)
    return [(*shape[:axis], (depth or [])[0], *shape[axis:])]


def _top_k(node: Node, inputs: Inputs) -> list[Shape]:
    shape, k = shape_of(inputs, 0), integers(inputs, 1, node, "k")
    axis = axis_of(node.attributes.get("axis", -1), len(shape))
    taken = (k or [])[0]
    if not 0 <= taken <= whole(shape[axis]):
        raise ValueError(f"the first {taken} of {whole(shape[axis])}")
    return [(*shape[:axis], taken, *shape[axis + 1 :])] * 2


def _depth_to_space(node: Node, inputs: Inputs) -> list[Shape]:
    n, c, h, w = shape_of(inputs, 0)
    size = node.attributes["blocksize"]
    return [(n, quotient(whole(c), size**2), whole(h) * size, whole(w) * size)]


def _space_to_depth(node: Node, inputs: Inputs) -> list[Shape]:
    n, c, h, w = shape_of(inputs, 0)
    size = node.attributes["blocksize"]
    return [(n, whole(c) * size**2, whole(h) // size, whole(w) // size)]


def _einsum(node: Node, inputs: Inputs) -> list[Shape]:
    given_terms, _, wanted = node.attributes["equation"].decode().replace(" ", "").partition("->")
    sides: dict[str, Side] = {}
    ellipsis: list[Shape] = []
    for i, term in enumerate(given_terms.split(",")):
        shape, before = shape_of(inputs, i), term.partition("...")[0]
        letters = term.replace("...", "")
        if "..." in term:
            start, end = len(before), len(shape) - (len(letters) - len(before))
            ellipsis.append(shape[start:end])
            shape = shape[:start] + shape[end:]
        for letter, side in zip(letters, shape, strict=True):
            (sides[letter],) = broadcast((sides.get(letter, 1),), (side,))
    if not wanted:
        wanted = ("..." if ellipsis else "") + "".join(sorted(c for c in sides if given_terms.count(c) == 1))
    before, dots, after = wanted.partition("...")
    middle = broadcast(*ellipsis) if dots else ()
    return [(*(sides[c] for c in before), *middle, *(sides[c] for c in after))]


def _recurrent(node: Node, inputs: Inputs) -> list[Shape]:
    """Return the shapes of LSTM, GRU and RNN: the hidden size is that of the recurrent weights."""
    a, b, _ = shape_of(inputs, 0)
    directions, _, hidden = map(whole, shape_of(inputs, 2))
    if flag(node, "layout"):
        state: Shape = (a, directions, hidden)
        return [(a, b, directions, hidden), state, state]
    state = (directions, b, hidden)
    return [(a, directions, b, hidden), state, state]


def _grid_sampled(node: Node, inputs: Inputs) -> list[Shape]:
    return [shape_of(inputs, 0)[:2] + shape_of(inputs, 1)[1:-1]]


_SAME = """
Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumSum DequantizeLinear
Dropout Elu Erf Exp EyeLike Floor Gelu HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN
LRN LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not QuantizeLinear Reciprocal
Relu ReverseSequence Round ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign
Sqrt Swish Tan Tanh ThresholdedRelu Trilu BatchNormalization LayerNormalization GroupNormalization
RMSNormalization SimplifiedLayerNormalization com.microsoft.BiasGelu com.microsoft.DequantizeLinear
com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QLinearLeakyRelu com.microsoft.QLinearSigmoid
com.microsoft.QLinearSoftmax com.microsoft.QuantizeLinear com.microsoft.QuickGelu ai.onnx.ml.Binarizer
ai.onnx.ml.Imputer ai.onnx.ml.Normalizer ai.onnx.ml.Scaler
"""
_BROADCAST = """
Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min
Mod Mul Or Pow PRelu Sub Sum Where Xor
"""
_REDUCED = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _first),
    **dict.fromkeys(_BROADCAST.split(), _all_broadcast),
    **{f"Reduce{how}": _reduced for how in _REDUCED.split()},
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg_reduced),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global_pool),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooled),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("Resize", "Upsample"), resized),
    **dict.fromkeys(("MatMul", "MatMulInteger", "com.microsoft.MatMulIntegerToFloat"), _matmul()),
    **dict.fromkeys(("Gemm", "com.microsoft.DynamicQuantizeMatMul"), _matmul()),
    **dict.fromkeys(("QLinearMatMul", "com.microsoft.QGemm"), _matmul(0, 3)),
    **dict.fromkeys(("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"), _broadcast_of(0, 3)),
    "com.microsoft.MatMulNBits": _matmul_n_bits,
    "DynamicQuantizeLinear": _quantised_dynamically,
    "Conv": convolved(),
    "ConvInteger": convolved(),
    "QLinearConv": convolved(0, 3),
    "ConvTranspose": conv_transposed,
    "Shape": _shape_operator,
    "Size": _scalar,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _sliced,
    "Gather": _gather,
    "GatherElements": _second,
    "GatherND": _gather_nd,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "ConstantOfShape": _constant_of_shape,
    "Range": _ranged,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Einsum": _einsum,
    "GridSample": _grid_sampled,
}
"""Operator, its domain before it where that is not ai.onnx: `com.microsoft.` for onnxruntime's own -> rule."""
