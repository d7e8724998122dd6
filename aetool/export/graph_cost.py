"""What one row takes in a graph of somebody else's: memory and multiplications, from the shapes of its values."""

import copy
import math
from collections.abc import Mapping

from onnx import ModelProto, NodeProto, helper, shape_inference

from aetool.export.batch import real_inputs
from aetool.export.candidate import RowCost
from aetool.export.evidence import LIVE_TENSORS

Shapes = Mapping[str, tuple[int, ...]]


def cost_of(model: ModelProto, row: tuple[int, ...]) -> RowCost:
    """Return the cost of one row of shape `row`; of a value whose shape is unknown nothing is counted."""
    single = copy.deepcopy(model)
    del single.graph.value_info[:]
    source = real_inputs(single)[0].type.tensor_type
    source.shape.CopyFrom(helper.make_tensor_type_proto(source.elem_type, (1, *row)).tensor_type.shape)
    for output in single.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(single, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    largest = math.prod(row)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name not in shapes and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
            largest = max(largest, math.prod(shapes[value.name]))
    products = sum(_products(node, shapes) for node in graph.node)
    return RowCost(LIVE_TENSORS * 8 * largest, max(largest, products), math.prod(row))


def _products(node: NodeProto, shapes: Shapes) -> int:
    """Multiplications of one node; of those without weights, one for each value."""
    weight = shapes.get(node.input[1] if len(node.input) > 1 else "", ())
    given, made = (math.prod(shapes.get(names[0], (0,))) if names else 0 for names in (node.input, node.output))
    if node.op_type in ("Conv", "QLinearConv", "ConvInteger"):
        return made * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return given * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul", "QLinearMatMul"):
        return given * (weight[-1] if weight else 1)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        sequence = shapes.get(node.input[0], (0,))
        recurrence = shapes.get(node.input[2], (0,)) if len(node.input) > 2 else (0,)
        return sequence[0] * (math.prod(weight) + math.prod(recurrence))
    return made
