"""The graphs of a bundle merged to one, from which a variant is made and cut as the model's own graphs were.

onnxruntime's quantizer takes one file: each graph by itself would get other ranges, and disagree with the others.
"""

import numpy as np
import onnx
import onnx.shape_inference
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import SEGMENTER
from aetool.errors import ExportError
from aetool.quantize._layers import set_nodes

_THRESHOLD = "aetool/own_threshold"


def whole_graph(bundle: Bundle) -> ModelProto:
    """Return the graph from features to every output of the graphs that take features.

    Raises:
        ExportError: the graphs were not cut from one export.
        BundleError: a file is missing or changed.
    """
    whole = onnx.load_from_string(bundle.graph("autoencoder"))
    for name in ("detector", "explainer", SEGMENTER):
        if name in bundle.variant("fp32").files:
            _take_in(whole, onnx.load_from_string(bundle.graph(name)), bundle, name)
    del whole.graph.value_info[:]
    _split_products_from_sums(whole)
    _join_products_with_biases(whole)
    return whole


def _take_in(whole: ModelProto, part: ModelProto, bundle: Bundle, name: str) -> None:
    makers = {output: node for node in whole.graph.node for output in node.output}
    for node in part.graph.node:
        twin = makers.get(node.output[0])
        if twin is None:
            whole.graph.node.append(node)
        elif twin != node:
            raise _not_one_export(bundle, name, node.output[0])
    constants = {tensor.name: tensor for tensor in whole.graph.initializer}
    for tensor in part.graph.initializer:
        if tensor.name not in constants:
            whole.graph.initializer.append(tensor)
        elif constants[tensor.name] != tensor:
            raise _not_one_export(bundle, name, tensor.name)
    there = {output.name for output in whole.graph.output}
    whole.graph.output.extend(output for output in part.graph.output if output.name not in there)


def set_threshold(model: ModelProto, threshold: float) -> None:
    """Let `model` decide by a threshold of its own.

    Raises:
        ExportError: it does not decide by `not (score <= constant)`.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    negation = makers["is_anomaly"]
    comparison = makers.get(negation.input[0]) if negation.op_type == "Not" else None
    if comparison is None or comparison.op_type != "LessOrEqual" or comparison.input[0] != "score":
        raise ExportError(
            "detector: is_anomaly was expected to be not (score <= threshold), found "
            f"{(comparison or negation).op_type}; export the bundle again with this aetool"
        )
    others = [tensor for tensor in model.graph.initializer if tensor.name != _THRESHOLD]
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        [*others, numpy_helper.from_array(np.asarray(threshold, np.float32), _THRESHOLD)]
    )
    comparison.input[1] = _THRESHOLD


def _split_products_from_sums(model: ModelProto) -> None:
    """Split each Gemm that adds a computed value into a Gemm and an Add: only constants become integers."""
    constants = {tensor.name for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Gemm" and len(node.input) == 3 and node.input[2] not in constants and _beta(node) == 1:
            (sum_,) = node.output
            product = f"{sum_}/product"
            added = node.input.pop()
            node.output[0] = product
            nodes += [node, helper.make_node("Add", [product, added], [sum_])]
        else:
            nodes.append(node)
    set_nodes(model, nodes)


def _join_products_with_biases(model: ModelProto) -> None:
    """Join MatMul and the Add of a bias to a Gemm: onnxruntime would leave the bias in float."""
    shapes = onnx.shape_inference.infer_shapes(model).graph
    values = [*shapes.value_info, *shapes.input, *shapes.output]
    rank = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {output.name for output in model.graph.output}
    joined: set[str] = set()
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        float32 = weight is not None and weight.data_type == TensorProto.FLOAT
        if weight is None or not float32 or len(weight.dims) != 2 or rank.get(node.input[0]) != 2:
            continue
        node.op_type = "Gemm"
        readers = [each for each in model.graph.node if node.output[0] in each.input]
        if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in outputs:
            continue
        bias = next(name for name in (*readers[0].input, "") if name != node.output[0])
        if bias in constants and list(constants[bias].dims) == [weight.dims[1]]:
            node.input.append(bias)
            joined.add(node.output[0])
            node.output[0] = readers[0].output[0]
    set_nodes(model, [node for node in model.graph.node if node.op_type != "Add" or joined.isdisjoint(node.input)])


def _beta(node: NodeProto) -> float:
    return next((attribute.f for attribute in node.attribute if attribute.name == "beta"), 1.0)


def _not_one_export(bundle: Bundle, name: str, value: str) -> ExportError:
    return ExportError(
        f"{bundle.path}: autoencoder and {name} differ in {value!r}, they were not cut from one export; export "
        "the bundle again"
    )
