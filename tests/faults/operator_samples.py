"""A small graph for every operator that aetool lets in: what it reads, and with which attributes."""

import numpy as np
from onnx import TensorProto, helper


def f(*shape):
    return np.linspace(0.1, 0.9, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def i(*values):
    return np.array(values, np.int64)


U8, I8, ZERO = np.uint8, np.int8, np.array(0, np.uint8)
SCALE = np.float32(0.1)
X, IMAGE = f(2, 3, 4), f(2, 4, 6, 6)
Q = np.ones((2, 6), U8)
LSTM = (f(5, 2, 3), f(1, 16, 3), f(1, 16, 4))
UNARY = """
Abs Acos Asin Asinh Atan BitwiseNot Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax
Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization Mish Neg Not Reciprocal Relu Round Selu Shrink
Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu Atanh Acosh Clip
Dropout Size Shape Flatten Transpose
"""
BINARY = """
Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mul Pow PRelu Sub Sum
"""
LOGICAL = {"And": np.bool_, "Or": np.bool_, "Xor": np.bool_, "BitwiseAnd": U8, "BitwiseOr": U8, "BitwiseXor": U8}
REDUCED = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


def sample(inputs, outputs=1, **attributes):
    return inputs, outputs, attributes


def packed_4_bits():
    """MatMulNBits of a (16, 8) weight in blocks of 16."""
    return sample(
        [f(2, 16), np.full((8, 1, 8), 0x77, U8), np.ones((8, 1), np.float32)], K=16, N=8, bits=4, block_size=16
    )


SAMPLES = {
    **{name: [sample([X])] for name in UNARY.split()},
    **{name: [sample([X, f(3, 1)]), sample([f(4), X])] for name in BINARY.split()},
    **{name: [sample([np.ones((2, 3), kind), np.ones(3, kind)])] for name, kind in LOGICAL.items()},
    **{
        f"Reduce{name}": [
            sample([X, i(1)], keepdims=0),
            sample([X, i(-1, 0)]),
            sample([X]),
            sample([X], noop_with_empty_axes=1),
        ]
        for name in REDUCED
    },
    **{name: [sample([X], axis=1), sample([X], axis=-1, keepdims=0)] for name in ("ArgMax", "ArgMin")},
    **{name: [sample([IMAGE])] for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN")},
    **{
        name: [
            sample([IMAGE], kernel_shape=[2, 3], strides=[2, 1]),
            sample([IMAGE], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 0], ceil_mode=1),
            sample([IMAGE], kernel_shape=[3, 3], strides=[4, 4], ceil_mode=1),
            sample([IMAGE], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        ]
        for name in ("MaxPool", "AveragePool", "LpPool")
    },
    "BitwiseNot": [sample([np.ones((2, 3), U8)])],
    "Not": [sample([np.ones((2, 3), np.bool_)])],
    "Acosh": [sample([X + 1])],
    "Trilu": [sample([X, np.int64(1)])],
    "Shape": [sample([X]), sample([X], start=1), sample([X], start=-2, end=-1)],
    "Flatten": [sample([X]), sample([X], axis=0), sample([X], axis=-1)],
    "Transpose": [sample([X]), sample([X], perm=[1, 2, 0])],
    "Dropout": [sample([X], 2)],
    "LRN": [sample([IMAGE], size=3)],
    "Mod": [sample([X, f(4)], fmod=1)],
    "BitShift": [sample([np.ones((2, 3), U8), np.ones(3, U8)], direction="LEFT")],
    "Where": [sample([np.ones((3, 1), np.bool_), X, f(1)])],
    "Cast": [sample([X], to=TensorProto.INT64)],
    "CastLike": [sample([X, i(1)])],
    "CumSum": [sample([X, np.int64(1)])],
    "EyeLike": [sample([f(3, 4)])],
    "InstanceNormalization": [sample([IMAGE, f(4), f(4)])],
    "BatchNormalization": [sample([IMAGE, f(4), f(4), f(4), f(4)])],
    "LayerNormalization": [sample([X, f(4), f(4)])],
    "GroupNormalization": [sample([IMAGE, f(4), f(4)], num_groups=2)],
    "RMSNormalization": [sample([X, f(4)])],
    "SimplifiedLayerNormalization": [sample([X, f(4)])],
    "MeanVarianceNormalization": [sample([IMAGE])],
    "ReverseSequence": [sample([f(4, 3, 2), i(1, 2, 3)])],
    "ScatterElements": [sample([f(3, 4), np.zeros((1, 2), np.int64), f(1, 2)])],
    "ScatterND": [sample([f(4, 3), np.zeros((2, 1), np.int64), f(2, 3)])],
    "QuantizeLinear": [sample([X, SCALE, ZERO])],
    "DequantizeLinear": [sample([Q, SCALE, ZERO])],
    "DynamicQuantizeLinear": [sample([X], 3)],
    "MatMul": [sample([X, f(4, 5)]), sample([f(4), f(4)]), sample([f(2, 1, 3, 4), f(5, 4, 2)]), sample([X, f(4)])],
    "Gemm": [sample([f(2, 3), f(3, 4), f(4)]), sample([f(3, 2), f(4, 3)], transA=1, transB=1)],
    "MatMulInteger": [sample([Q, np.ones((6, 3), U8)])],
    "QLinearMatMul": [sample([Q, SCALE, ZERO, np.ones((6, 3), U8), SCALE, ZERO, SCALE, ZERO])],
    "Conv": [
        sample([IMAGE, f(5, 4, 3, 3)], pads=[1, 1, 1, 1], strides=[2, 2]),
        sample([IMAGE, f(4, 1, 2, 2), f(4)], group=4, dilations=[2, 2]),
        sample([IMAGE, f(5, 4, 3, 3)], auto_pad="SAME_LOWER", strides=[4, 4]),
        sample([f(1, 1, 6, 6), f(1, 1, 3, 3)]),
    ],
    "ConvInteger": [sample([np.ones((1, 2, 5, 5), U8), np.ones((3, 2, 2, 2), U8)])],
    "QLinearConv": [
        sample([np.ones((1, 2, 5, 5), U8), SCALE, ZERO, np.ones((3, 2, 2, 2), U8), SCALE, ZERO, SCALE, ZERO])
    ],
    "ConvTranspose": [
        sample([IMAGE, f(4, 3, 4, 4)], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        sample([IMAGE, f(4, 2, 3, 3)], group=2, dilations=[2, 1]),
        sample([IMAGE, f(4, 3, 3, 3)], output_shape=[13, 12], strides=[2, 2]),
    ],
    "LSTM": [sample(LSTM, 3, hidden_size=4)],
    "GRU": [sample([f(5, 2, 3), f(2, 12, 3), f(2, 12, 4)], 2, hidden_size=4, direction="bidirectional")],
    "RNN": [sample([f(5, 2, 3), f(1, 4, 3), f(1, 4, 4)], 2, hidden_size=4)],
    "Reshape": [sample([X, i(0, -1)]), sample([X, i(4, 3, 2)]), sample([X, i(-1)])],
    "Squeeze": [sample([f(2, 1, 3), i(1)]), sample([f(2, 1, 3, 1)])],
    "Unsqueeze": [sample([X, i(0, -1)]), sample([X, i(2, 1)])],
    "Concat": [sample([X, f(2, 5, 4)], axis=-2)],
    "Split": [sample([f(2, 7), i(3, 4)], 2, axis=1), sample([f(2, 7)], 3, axis=1, num_outputs=3)],
    "Slice": [
        sample([X, i(1), i(2**62), i(-1), i(2)]),
        sample([X, i(-1, 0), i(-(2**62), 1), i(2, 0), i(-1, 1)]),
        sample([X, i(0), i(-1)]),
    ],
    "Gather": [sample([X, np.zeros((5, 2), np.int64)], axis=1), sample([X, np.int64(1)])],
    "GatherElements": [sample([f(3, 4), np.zeros((2, 4), np.int64)])],
    "GatherND": [sample([X, np.zeros((5, 2), np.int64)]), sample([X, np.zeros((2, 1), np.int64)], batch_dims=1)],
    "Expand": [sample([f(3, 1), i(2, 1, 4)])],
    "Tile": [sample([X, i(1, 2, 3)])],
    "Pad": [
        sample([X, i(0, 1, 0, 2, 0, 3)]),
        sample([X, i(1, 2), SCALE, i(-1)]),
        sample([X, i(0, 0, 0, 0, 0, -1)]),
    ],
    "ConstantOfShape": [sample([i(2, 3)])],
    "Range": [
        sample([np.int64(2), np.int64(11), np.int64(4)]),
        sample([np.int32(11), np.int32(1), np.int32(-4)]),
    ],
    "OneHot": [
        sample([np.zeros((2, 3), np.int64), i(5), f(2)]),
        sample([np.zeros((2,), np.int64), i(5), f(2)], axis=0),
    ],
    "TopK": [sample([X, i(2)], 2), sample([X, i(2)], 2, axis=0)],
    "DepthToSpace": [sample([IMAGE], blocksize=2)],
    "SpaceToDepth": [sample([IMAGE], blocksize=3)],
    "Resize": [
        sample([IMAGE, None, np.array([1, 1, 1.5, 0.4], np.float32)]),
        sample([IMAGE, None, None, i(2, 4, 9, 3)]),
        sample([IMAGE, None, None, i(9, 8)], axes=[2, 3]),
    ],
    "Upsample": [sample([IMAGE, np.array([1, 1, 2, 2], np.float32)])],
    "Einsum": [
        sample([f(2, 3, 4), f(2, 4, 5)], equation="bij,bjk->bik"),
        sample([f(2, 3), f(3)], equation="...i,i->..."),
        sample([f(2, 3), f(3, 4)], equation="ij,jk"),
    ],
    "GridSample": [sample([IMAGE, f(2, 3, 5, 2)])],
    "ai.onnx.ml.Binarizer": [sample([f(2, 3)], threshold=0.5)],
    "ai.onnx.ml.Imputer": [sample([f(2, 3)], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=0.0)],
    "ai.onnx.ml.Normalizer": [sample([f(2, 3)], norm="MAX")],
    "ai.onnx.ml.Scaler": [sample([f(2, 3)], offset=[0.0] * 3, scale=[1.0] * 3)],
    "com.microsoft.BiasGelu": [sample([X, f(4)])],
    "com.microsoft.Gelu": [sample([X])],
    "com.microsoft.FastGelu": [sample([X, f(4)])],
    "com.microsoft.QuickGelu": [sample([X])],
    "com.microsoft.QuantizeLinear": [sample([X, SCALE, ZERO])],
    "com.microsoft.DequantizeLinear": [sample([Q, SCALE, ZERO])],
    "com.microsoft.QLinearLeakyRelu": [sample([Q, SCALE, ZERO, SCALE, ZERO])],
    "com.microsoft.QLinearSigmoid": [sample([Q, SCALE, ZERO, SCALE, ZERO])],
    "com.microsoft.QLinearSoftmax": [sample([Q, SCALE, ZERO, SCALE, ZERO], opset=13, axis=-1)],
    "com.microsoft.QLinearAdd": [sample([Q, SCALE, ZERO, np.ones(6, U8), SCALE, ZERO, SCALE, ZERO])],
    "com.microsoft.QLinearMul": [sample([Q, SCALE, ZERO, np.ones(6, U8), SCALE, ZERO, SCALE, ZERO])],
    "com.microsoft.QGemm": [
        sample([Q, SCALE, ZERO, np.ones((3, 6), I8), SCALE, np.int8(0), None, SCALE, ZERO], transB=1)
    ],
    "com.microsoft.MatMulIntegerToFloat": [sample([Q, np.ones((6, 3), U8), SCALE, SCALE])],
    "com.microsoft.DynamicQuantizeMatMul": [sample([f(2, 6), np.ones((6, 3), I8), SCALE])],
    "com.microsoft.MatMulNBits": [packed_4_bits()],
}
"""Operator -> samples of (inputs, number of outputs, attributes)."""
OPSETS = {"Upsample": 9, "Gelu": 20, "Swish": 24, "RMSNormalization": 23, "GroupNormalization": 21}


def model_of(operator, inputs, outputs, attributes):
    """Model and names of its outputs: every input a constant, and one input `features` that is passed through."""
    domain, _, op_type = operator.rpartition(".")
    names = ["" if value is None else f"i{n}" for n, value in enumerate(inputs)]
    results = [f"o{n}" for n in range(outputs)]
    tensors = [
        helper.make_tensor(
            name,
            helper.np_dtype_to_tensor_dtype(np.asarray(v).dtype),
            np.shape(v),
            np.asarray(v).tobytes(),
            raw=True,
        )
        for name, v in zip(names, inputs, strict=True)
        if v is not None
    ]
    nodes = [
        helper.make_node(op_type, names, results, domain=domain, **attributes),
        helper.make_node("Identity", ["features"], ["same"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("features", 1, ["n", 3])],
        [
            *(helper.make_empty_tensor_value_info(name) for name in results),
            helper.make_tensor_value_info("same", 1, ["n", 3]),
        ],
        tensors,
    )
    opsets = [helper.make_opsetid("", OPSETS.get(operator, 18))]
    opsets += [helper.make_opsetid(domain, {"ai.onnx.ml": 3}.get(domain, 1))] if domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), results
