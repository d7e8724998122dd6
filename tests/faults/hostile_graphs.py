"""Detectors of an author who means harm: each is a well-formed ONNX model, and its manifest has the right hash."""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from aetool.onnx_check._protobuf import field

FEATURES = 30
Change = Callable[[ModelProto], None]


def honest() -> ModelProto:
    """(batch, 30) -> score and is_anomaly."""
    nodes = [
        helper.make_node("ReduceSumSquare", ["taken", "axes"], ["score"], keepdims=0),
        helper.make_node("Greater", ["score", "limit"], ["is_anomaly"]),
        helper.make_node("Mul", ["features", "weight"], ["taken"]),
    ]
    constants = {"axes": np.array([1]), "limit": np.float32(5), "weight": np.ones(FEATURES, np.float32)}
    graph = helper.make_graph(
        [nodes[2], nodes[0], nodes[1]],
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURES])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("is_anomaly", TensorProto.BOOL, ["batch"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def constant(model: ModelProto, name: str, value: object) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def also(*nodes: onnx.NodeProto, **constants: object) -> Change:
    """The honest detector, and these nodes before it, whose results nobody needs."""

    def change(model: ModelProto) -> None:
        for name, value in constants.items():
            constant(model, name, value)
        for node in reversed(nodes):
            model.graph.node.insert(0, node)

    return change


def node(
    operator: str, inputs: str, output: str = "bomb", domain: str = "", **attributes: object
) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, output.split(), domain=domain, **attributes)


def rest_of(rows: str) -> Iterator[onnx.NodeProto]:
    """`rest`, which is `many` less the number of `rows`, `n`; `z` is 0."""
    yield node("Shape", rows, "s")
    yield node("Gather", "s z", "n")
    yield node("Sub", "many n", "rest")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def branch(*nodes: onnx.NodeProto, result: str = "bomb", name: str = "inner") -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(result, 1, None)])


def doubling() -> Iterator[onnx.NodeProto]:
    yield node("Identity", "features", "d0")
    for i in range(45):
        yield node("Concat", f"d{i} d{i}", f"d{i + 1}", axis=1)


def kept_by_another_order(count: int) -> Iterator[onnx.NodeProto]:
    """In the file's order one large value at a time; from the last result backwards, all of them."""
    yield node("ReduceMin", "features", "chain0", keepdims=0)
    for i in range(count):
        yield node("Expand", f"chain{i} s", f"large{i}")
        yield node("ReduceMax", f"large{i}", f"chain{i + 1}", keepdims=0)
        yield node("ReduceMin", f"large{i}", f"side{i}", keepdims=0)
    yield node("Sum", " ".join([f"chain{count}", *(f"side{i}" for i in range(count))]))


def scan_of_bombs() -> onnx.NodeProto:
    body = helper.make_graph(
        [node("Expand", "step wide", "out")],
        "body",
        [helper.make_tensor_value_info("step", 1, None)],
        [helper.make_tensor_value_info("out", 1, None)],
    )
    return node("Scan", "rows", body=body, num_scan_inputs=1)


IMAGE = i64(-1, 1, 5, 6)
SIZES = {"z": i64(0), "many": i64(64), "large": i64(10**9)}
BOMBS: dict[str, Change] = {
    "ConstantOfShape": also(node("ConstantOfShape", "s"), s=i64(10**12)),
    "ConstantOfShape of many axes": also(node("ConstantOfShape", "s"), s=i64(*[2] * 40)),
    "ConstantOfShape below zero": also(node("ConstantOfShape", "s"), s=i64(-5)),
    "Expand": also(node("Expand", "features s"), s=i64(10**9, 1, FEATURES)),
    "Tile": also(node("Tile", "features s"), s=i64(1, 10**9)),
    "Range": also(node("Range", "a b c"), a=np.int64(0), b=np.int64(10**12), c=np.int64(1)),
    "Range of floats": also(node("Range", "a b c"), a=np.float32(0), b=np.float32(1e9), c=np.float32(1e-9)),
    "Resize by sizes": also(
        node("Reshape", "features i", "x"), node("Resize", "x - - s"), i=IMAGE, s=i64(1, 1, 10**6, 10**6)
    ),
    "Resize by scales": also(
        node("Reshape", "features i", "x"), node("Resize", "x - s"), i=IMAGE, s=f32(1, 1, 1e5, 1e5)
    ),
    "Resize keeping its aspect": also(
        node("Reshape", "features i", "x"),
        node("Resize", "x - - s", axes=[2, 3], keep_aspect_ratio_policy="not_smaller"),
        i=IMAGE,
        s=i64(10**6, 1),
    ),
    "Pad": also(node("Pad", "features s"), s=i64(0, 0, 0, 10**10)),
    "OneHot": also(
        node("Cast", "features", "n", to=TensorProto.INT64), node("OneHot", "n d v"), d=i64(10**8), v=f32(0, 1)
    ),
    "Concat, doubled 45 times": also(*doubling()),
    "Concat, of one value 10,000 times": also(
        node("Expand", "features s", "x"),
        node("Concat", " ".join(["x"] * 10_000), axis=0),
        s=i64(1000, 1, FEATURES),
    ),
    "MatMul of two narrow ones": also(
        node("MatMul", "tall wide"), tall=np.ones((20_000, 1), "f4"), wide=np.ones((1, 20_000), "f4")
    ),
    "Add of a row and a column": also(
        node("Add", "tall wide"), tall=np.ones((20_000, 1), "f4"), wide=np.ones((1, 20_000), "f4")
    ),
    "Einsum": also(node("Einsum", "v v v", equation="i,j,k->ijk"), v=np.ones(2000, "f4")),
    "Gather": also(
        node("Gather", "table places"), table=np.ones((2, 50_000), "f4"), places=np.zeros(50_000, "i8")
    ),
    **{
        name: also(
            node("Reshape", "features i", "x"),
            node(name.split()[0], "x w", **wide),
            i=IMAGE,
            w=np.ones((1, 1, 1, 1), "f4"),
        )
        for name, wide in (
            ("Conv with wide pads", {"pads": [10**5] * 4}),
            ("ConvTranspose with wide strides", {"strides": [10**5] * 2}),
            ("ConvTranspose by its output", {"output_shape": [10**5] * 2}),
        )
    },
    "MaxPool with wide pads": also(
        node("Reshape", "features i", "x"), node("MaxPool", "x", kernel_shape=[1, 1], pads=[10**5] * 4), i=IMAGE
    ),
    "DepthToSpace": also(node("DepthToSpace", "x", blocksize=10**5), x=np.ones((1, 1, 2, 2), "f4")),
    "in a branch": also(
        node(
            "If",
            "yes",
            then_branch=branch(node("ConstantOfShape", "s")),
            else_branch=branch(node("Identity", "s")),
        ),
        yes=np.bool_(True),
        s=i64(10**12),
    ),
    "in a Scan": also(node("Reshape", "features s", "rows"), scan_of_bombs(), s=i64(-1, 1), wide=i64(10**8)),
    "a size computed step by step": also(
        node("Mul", "a a", "a2"),
        node("Mul", "a2 a", "a3"),
        node("Unsqueeze", "a3 z", "s"),
        node("ConstantOfShape", "s"),
        a=np.int64(10**4),
        z=i64(0),
    ),
    "a size that only many rows make large": also(
        node("Shape", "features", "s"),
        node("Gather", "s z", "b"),
        node("Concat", "b b b b", "bbbb", axis=0),
        node("ConstantOfShape", "bbbb"),
        z=i64(0),
    ),
    "a size taken from the rows": also(
        node("ReduceMax", "features", "m", keepdims=0),
        node("Cast", "m", "n", to=TensorProto.INT64),
        node("Unsqueeze", "n z", "s"),
        node("ConstantOfShape", "s"),
        z=i64(0),
    ),
    "ReduceProd of int32": also(
        node("Shape", "features", "s"),
        node("Cast", "s", "t", to=TensorProto.INT32),
        node("Mul", "t many", "u"),
        node("ReduceProd", "u", "p", keepdims=1),
        node("Cast", "p", "size", to=TensorProto.INT64),
        node("ConstantOfShape", "size"),
        many=np.int32(2**20),
    ),
    "ReduceSum of int32": also(
        node("ReduceSum", "many", "p", keepdims=1),
        node("Cast", "p", "size", to=TensorProto.INT64),
        node("ConstantOfShape", "size"),
        many=np.full(3, 2**31 - 1, np.int32),
    ),
    "ReduceMax with NaN": also(
        node("Div", "zero zero", "nan"),
        node("Concat", "nan large", "both", axis=0),
        node("ReduceMax", "both", "m", keepdims=1),
        node("Cast", "m", "size", to=TensorProto.INT64),
        node("ConstantOfShape", "size"),
        zero=f32(0),
        large=f32(1e12),
    ),
    "a Cast that saturates": also(
        node("Cast", "large", "n", to=TensorProto.INT32),
        node("Cast", "n", "size", to=TensorProto.INT64),
        node("ConstantOfShape", "size"),
        large=i64(2**40 + 1),
    ),
    "a size that is small for 1 row and for 64": also(
        *rest_of("features"),
        node("Sub", "n one", "less"),
        node("Mul", "less rest", "product"),
        node("Mul", "product large", "size"),
        node("ConstantOfShape", "size"),
        one=i64(1),
        **SIZES,
    ),
    "a part of the rows": also(
        node("Slice", "features z many", "few"),
        *rest_of("few"),
        node("Mul", "rest large", "size"),
        node("ConstantOfShape", "size"),
        **SIZES,
    ),
    "large values that another order of nodes keeps": also(*kept_by_another_order(40), s=i64(10**7)),
    "NonZero": also(node("NonZero", "features")),
    "Loop": also(node("Loop", "n -", body=helper.make_graph([], "b", [], [])), n=np.int64(10**15)),
    "values that add up": also(*(node("ConstantOfShape", "s", f"b{i}") for i in range(60)), s=i64(10**6)),
}


def deep(depth: int) -> onnx.NodeProto:
    found = node("Identity", "features")
    for _ in range(depth):
        found = node("If", "yes", then_branch=branch(found), else_branch=branch(node("Identity", "features")))
    return found


def in_another_file(location: str) -> Change:
    def change(model: ModelProto) -> None:
        tensor = model.graph.initializer[2]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def in_another_file_from_an_attribute(model: ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "t")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["t"], value=tensor))


def weights(change: Callable[[TensorProto], object]) -> Change:
    return lambda model: (change(model.graph.initializer[2]), None)[1]


def bad_numbers(dtype: str, value: float, *, raw: bool = True) -> Change:
    def change(model: ModelProto) -> None:
        array = np.ones(4, dtype)
        array[1] = value
        if raw:
            constant(model, "w", array)
        else:
            model.graph.initializer.append(
                helper.make_tensor("w", helper.np_dtype_to_tensor_dtype(array.dtype), [4], array)
            )

    return change


def bfloat16_nan(model: ModelProto) -> None:
    model.graph.initializer.append(
        TensorProto(name="w", dims=[2], data_type=TensorProto.BFLOAT16, raw_data=b"\x80\x3f\xc0\x7f")
    )


def sparse(model: ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [10**12]))


def sparse_constant(model: ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    values.ClearField("raw_data")
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="/etc/passwd")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.node.insert(
        0, helper.make_node("Constant", [], ["s"], sparse_value=helper.make_sparse_tensor(values, places, [4]))
    )


def functions(model: ModelProto) -> None:
    made = helper.make_function("mine", "F", ["x"], ["y"], [node("Identity", "x", "y")], model.opset_import)
    model.functions.append(made)


def of_opset(version: int) -> Change:
    return lambda model: setattr(model.opset_import[0], "version", version)


def untrue_shape(model: ModelProto) -> None:
    """onnxruntime takes the shape that is stated for that of the value, and makes Shape a constant."""
    also(node("Shape", "taken", "s"), node("ConstantOfShape", "s"))(model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[2], nodes[0], nodes[1], *nodes[3:]])
    model.graph.value_info.append(helper.make_tensor_value_info("taken", 1, [10**6, 10**6]))


KEYS = f32(*range(8)).reshape(1, 2, 2, 2)
TRICKS: dict[str, tuple[Change, str]] = {
    "a shape stated that is not true": (untrue_shape, "it states the shape"),
    "Split into 10**8 parts": (also(node("Split", "v", num_outputs=10**8), v=f32(1, 2)), "parts of 1 outputs"),
    "ConvTranspose without a group": (also(node("ConvTranspose", "k k", group=0), k=KEYS), "has no group"),
    "Conv with groups below zero": (also(node("Conv", "k k", group=-1), k=KEYS), "has no group"),
    **{
        f"{how} of the smallest integer by -1": (
            also(node(how, "a b"), a=np.array([low], kind), b=np.array([-1], kind)),
            "divides integers by what may be -1",
        )
        for how, low, kind in (("Div", -(2**31), np.int32), ("Mod", -(2**63), np.int64))
    },
    "Div by what a row says": (
        also(node("Cast", "features", "n", to=TensorProto.INT32), node("Div", "n n")),
        "divides integers by what may be -1",
    ),
    **{
        f"{how} with an input left out": (also(node(how, "features -")), "leaves out an input that it needs")
        for how in ("Max", "Min", "Sum", "Mean", "Concat", "Add")
    },
    "LayerNormalization with its bias named nothing": (
        also(node("LayerNormalization", "features w -"), w=np.ones(FEATURES, "f4")),
        "leaves out an input that it needs",
    ),
    "a GRU without a step": (
        also(
            node("GRU", "x w r", hidden_size=1),
            x=np.zeros((0, 1, 1), "f4"),
            w=np.ones((1, 3, 1), "f4"),
            r=np.ones((1, 3, 1), "f4"),
        ),
        "has no step",
    ),
    "a scale for each row": (
        also(
            node("ReduceMax", "features one", "s", keepdims=0),
            node("QLinearSoftmax", "q s z s z", domain="com.microsoft", axis=-1, opset=13),
            one=i64(1),
            q=np.ones((2, 6), np.uint8),
            z=np.uint8(0),
        ),
        "has a scale or zero point for each row",
    ),
    "a flag that is neither 0 nor 1": (
        also(node("ArgMax", "features", keepdims=8)),
        "keepdims 8, expected 0 or 1",
    ),
    "weights in an absolute file": (in_another_file("/etc/passwd"), "stands in another file"),
    "weights above the bundle": (in_another_file("../secret.bin"), "stands in another file"),
    "weights in a file of the bundle": (in_another_file("golden.npz"), "stands in another file"),
    "a constant's weights in a file": (in_another_file_from_an_attribute, "stands in another file"),
    "an operator of somebody else": (
        also(node("Steal", "features", domain="evil")),
        "aetool runs no such operator",
    ),
    "an operator of an unknown name": (also(node("Steal", "features")), "aetool runs no such operator"),
    "compiled code": (also(node("EPContext", "features", domain="com.microsoft")), "aetool runs no such operator"),
    "a decoder of images": (also(node("ImageDecoder", "features")), "aetool runs no such operator"),
    "operators of its own": (functions, "operators of its own"),
    "training steps": (lambda model: model.training_info.add(), "training steps"),
    "random numbers": (also(node("RandomNormalLike", "features")), "is random"),
    "random numbers in a branch": (
        also(
            node(
                "If",
                "yes",
                then_branch=branch(node("RandomUniform", "", shape=[1])),
                else_branch=branch(node("Identity", "features")),
            ),
            yes=np.bool_(True),
        ),
        "is random",
    ),
    "dropout in training mode": (
        also(node("Dropout", "features r t"), r=np.float32(0.5), t=np.bool_(True)),
        "training mode",
    ),
    "dropout that a row switches on": (
        also(
            node("ReduceMax", "features", "m", keepdims=0),
            node("Cast", "m", "t", to=9),
            node("Dropout", "features r t"),
            r=np.float32(0.5),
        ),
        "training mode",
    ),
    "batch normalisation in training mode": (
        also(node("BatchNormalization", "features o o o o", "a b c", training_mode=1), o=np.ones(FEATURES, "f4")),
        "training mode",
    ),
    "NaN in a weight": (bad_numbers("f4", np.nan), "holds NaN or infinity"),
    "infinity in a weight": (bad_numbers("f4", np.inf), "holds NaN or infinity"),
    "NaN in float16": (bad_numbers("f2", np.nan), "holds NaN or infinity"),
    "NaN in float64": (bad_numbers("f8", np.nan), "holds NaN or infinity"),
    "NaN in bfloat16": (bfloat16_nan, "holds NaN or infinity"),
    "NaN in float_data": (bad_numbers("f4", np.nan, raw=False), "holds NaN or infinity"),
    "NaN in float16 as integers": (bad_numbers("f2", np.inf, raw=False), "holds NaN or infinity"),
    "a shape below zero": (weights(lambda tensor: tensor.dims.__setitem__(0, -1)), "has the shape"),
    "a shape larger than its numbers": (
        weights(lambda tensor: tensor.dims.__setitem__(0, 10**12)),
        "holds 30 numbers",
    ),
    "a shape of 2**63 numbers": (weights(lambda tensor: tensor.dims.extend([2**31, 2**31])), "holds 30 numbers"),
    "numbers cut short": (
        weights(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data[:-1])),
        "holds what its type cannot",
    ),
    "numbers given twice": (weights(lambda tensor: tensor.float_data.extend([1.0] * 30)), "holds"),
    "texts": (
        lambda model: model.graph.initializer.append(helper.make_tensor("t", 8, [1], [b"x"])),
        "no kind of number",
    ),
    "an unknown type": (weights(lambda tensor: setattr(tensor, "data_type", 99)), "no kind of number"),
    "sparse weights": (sparse, "sparse constants"),
    "an ancient operator set": (of_opset(3), "opset 7 to 28 expected, found 3"),
    "a future operator set": (of_opset(99), "opset 7 to 28 expected, found 99"),
    "an operator set below zero": (of_opset(-1), "expected, found -1"),
    "no operator set": (lambda model: model.ClearField("opset_import"), "expected, found None"),
    "a future IR": (lambda model: setattr(model, "ir_version", 99), "IR version 3 to 14 expected, found 99"),
    "graphs nested 12 deep": (also(deep(12), yes=np.bool_(True)), "nested too deeply"),
    "graphs nested 5,000 deep": (lambda model: None, "nested too deeply"),
    "too many nodes": (
        also(*(node("Identity", "features", f"n{i}") for i in range(20_001))),
        "more nodes than allowed",
    ),
    "a second input": (
        lambda model: model.graph.input.append(helper.make_tensor_value_info("more", 1, [1])),
        "a second input",
    ),
    "a cycle": (also(node("Add", "features b", "a"), node("Identity", "a", "b")), "is not computed before it"),
    "a value computed twice": (
        also(node("Identity", "features", "v"), node("Abs", "features", "v")),
        "there already",
    ),
    "a value nobody computes": (also(node("Identity", "nothing")), "is not computed before it"),
    "shapes that do not fit": (also(node("Add", "features v"), v=f32(1, 2, 3)), "do not fit together"),
    "an output nobody computes": (
        lambda model: model.graph.output.append(helper.make_tensor_value_info("none", 1, [1])),
        "is not computed",
    ),
    "a constant of sparse numbers": (sparse_constant, "no deployed graph needs"),
    "a name that is not UTF-8": (lambda model: None, "not UTF-8"),
    "two graphs": (lambda model: None, "two graphs"),
    "no graph": (lambda model: None, "no graph"),
}


def bytes_of(name: str, model: ModelProto) -> bytes:
    """What protobuf itself would not write is made by hand."""
    content = model.SerializeToString()
    if name == "graphs nested 5,000 deep":
        inner = b""
        for _ in range(5000):  # GraphProto.node.attribute.g, and that it is one
            inner = field(1, field(5, field(6, inner) + b"\xa0\x01\x05"))
        model.ClearField("graph")
        return model.SerializeToString() + field(7, inner)
    if name == "two graphs":
        return content + ModelProto(graph=model.graph).SerializeToString()
    if name == "no graph":
        model.ClearField("graph")
        return model.SerializeToString()
    return content.replace(b"is_anomaly", b"is_an\xff\xfealy") if name == "a name that is not UTF-8" else content
