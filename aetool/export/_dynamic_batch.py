"""Conversion of a graph with a batch of one to any batch; verification proves that it computes the same."""

import copy
import math

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference

from aetool.errors import ExportError

BATCH = "batch"
_STATEFUL = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""Recurrent operators, and which of their inputs are initial states: (directions, batch, hidden)."""
_LARGEST_STATE = 1 << 24


def has_dynamic_batch(model: ModelProto) -> bool:
    """Return True if no input or output has a fixed first dimension."""
    return not any(_fixed_batch(value) for value in [*real_inputs(model), *model.graph.output])


def has_free_input(model: ModelProto) -> bool:
    """Return True if no input has a fixed first dimension."""
    return not any(_fixed_batch(value) for value in real_inputs(model))


def require_free_or_one(model: ModelProto) -> None:
    """Refuse a batch that is fixed to another number than 1.

    Raises:
        ExportError: naming the shape.
    """
    for value in real_inputs(model):
        if _fixed_batch(value) not in (0, 1):
            found = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            raise ExportError(
                f"{value.name}: a dynamic batch, or a batch of 1, is expected first, found shape {found}; export "
                "the model with a batch of 1, or with a dynamic batch"
            )


def lift_batch(model: ModelProto) -> ModelProto:
    """Return a copy of `model`, whose batch is fixed to 1, with a free batch.

    Shapes that Reshape takes from constants lose their leading 1; recurrent states of zeros are dropped (zero
    is their default), others are spread over the batch. The result must be compared with the original, row by
    row: nothing here proves that rows do not meet elsewhere.

    Raises:
        ExportError: the batch is fixed to another number.
    """
    single, lifted = copy.deepcopy(model), copy.deepcopy(model)
    graph = lifted.graph
    require_free_or_one(model)
    for value in real_inputs(single):
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_value = 1
    for value in [*real_inputs(lifted), *graph.output]:
        if _fixed_batch(value) in (0, 1):
            for dim in value.type.tensor_type.shape.dim[:1]:
                dim.dim_param = BATCH
    del graph.value_info[:]
    constants = _constants(lifted)
    del single.graph.value_info[:]
    fixed = _shapes(single)
    additions: list[tuple[int, NodeProto]] = []
    for index, node in enumerate(graph.node):
        if node.op_type == "Reshape" and node.input[1] in constants:
            _free_reshape(lifted, node, fixed)
        for position in _STATEFUL.get(node.op_type, ()):
            if len(node.input) > position and node.input[position]:
                additions += _free_state(lifted, node, position, constants, index)
    for index, addition in reversed(additions):
        graph.node.insert(index, addition)
    _drop_unused(lifted)
    return shape_inference.infer_shapes(lifted)


def real_inputs(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not weights: old files list every weight as an input too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _fixed_batch(value: onnx.ValueInfoProto) -> int:
    """Return the fixed size of the first dimension; 0 if it is free or unknown."""
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims and dims[0].HasField("dim_value") else 0


def _constants(model: ModelProto) -> dict[str, np.ndarray]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "ConstantOfShape" and node.input[0] in found:
            fill = numpy_helper.to_array(node.attribute[0].t) if node.attribute else np.zeros(1, np.float32)
            if np.prod(found[node.input[0]]) <= _LARGEST_STATE:
                found[node.output[0]] = np.full(found[node.input[0]], fill)
    return found


def _add(model: ModelProto, name: str, value: np.ndarray) -> str:
    name = f"{name}/any_batch"
    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _shapes(model: ModelProto) -> dict[str, list[int | str]]:
    """Return the inferred shapes by name: numbers, or names of free dimensions ("" where unknown)."""
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: [
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim
        ]
        for value in [*graph.input, *graph.value_info, *graph.output]
    }


def _free_reshape(model: ModelProto, node: NodeProto, fixed: dict[str, list[int | str]]) -> None:
    """Leave the batch free in a constant shape.

    Reshape keeps the order of the elements: the batch of the output stands where as many elements come before
    it as in the input.
    """
    shape = _shapes(model).get(node.input[0], [])
    target = fixed.get(node.output[0], [])
    # Only the batch is free; inference may have lost its name on the way (through Tile, say).
    free_axes = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    if len(free_axes) != 1 or not all(isinstance(size, int) for size in target):
        return
    wanted = math.prod(int(size) for size in shape[: free_axes[0]])
    sizes = [int(size) for size in target]
    for axis, size in enumerate(sizes):
        if size == 1 and math.prod(sizes[:axis]) == wanted:
            free = np.array([*sizes[:axis], -1, *sizes[axis + 1 :]], np.int64)
            node.input[1] = _add(model, f"{node.output[0]}/shape", free)
            return


def _free_state(
    model: ModelProto, node: NodeProto, position: int, constants: dict[str, np.ndarray], index: int
) -> list[tuple[int, NodeProto]]:
    name = node.input[position]
    state = constants.get(name)
    if state is None:
        return []
    if not state.any():
        node.input[position] = ""
        return []
    # Spread over the batch, the second dimension of the sequence (seq, batch, input).
    new = f"state_{index}_{position}"
    one = _add(model, "one", np.array([1], np.int64))
    node.input[position] = new
    return [
        (index, helper.make_node("Shape", [node.input[0]], [f"{new}/sequence"])),
        (index, helper.make_node("Gather", [f"{new}/sequence", one], [f"{new}/batch"])),
        (index, helper.make_node("Concat", [one, f"{new}/batch", one], [f"{new}/shape"], axis=0)),
        (index, helper.make_node("Expand", [name, f"{new}/shape"], [new])),
    ]


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    for node in [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] not in used]:
        model.graph.node.remove(node)
