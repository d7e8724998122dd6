"""Half the bytes: layers computed in float16, or weights kept in bfloat16 and computed in float32."""

from collections.abc import Collection

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from aetool.quantize.layers import add_constant, insert_nodes, layers_of, take_constants

ELEMENTWISE = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Gelu", "HardSigmoid", "HardSwish"}
)
"""Of one input: between layers they stay in float16."""


def to_fp16(model: ModelProto, in_float: Collection[str] = ()) -> None:
    """Compute the layers of `model` and what lies between them in float16; features, score and outputs in float32.

    On a CPU that has no float16 arithmetic, onnxruntime converts to and fro: smaller, not faster.
    """
    halves: set[str] = set()
    outputs = {output.name for output in model.graph.output}  # graphs may be cut there: nothing goes round them
    read: dict[str, str] = {}
    before: dict[str, list[NodeProto]] = {}
    after: dict[str, list[NodeProto]] = {}
    layers = {layer.output: layer for layer in layers_of(model) if layer.name not in in_float}
    for node in model.graph.node:
        made, value = node.output[0], node.input[0] if node.input else ""
        layer = layers.get(made)
        if layer is None and not (node.op_type in ELEMENTWISE and len(node.input) == 1 and value in halves):
            continue
        if layer is not None:
            weight = add_constant(model, f"{made}/weight", layer.weight.astype(np.float16))
            bias = None
            if layer.bias is not None:
                bias = add_constant(model, f"{made}/bias", layer.bias.astype(np.float16))
            take_constants(model, layer, weight, bias)
        if value not in read:
            read[value] = f"{value}/read_half"
            before[made] = [helper.make_node("Cast", [value], [read[value]], to=TensorProto.FLOAT16)]
        node.input[0] = read[value]
        after[made] = [helper.make_node("Cast", [f"{made}/half"], [made], to=TensorProto.FLOAT)]
        if made not in outputs:
            halves.add(made)
            read[made] = f"{made}/half"
    insert_nodes(model, before, after)
    for node in model.graph.node:
        if node.output[0] in after and node.op_type != "Cast":
            node.output[0] = f"{node.output[0]}/half"


def to_bf16(model: ModelProto, in_float: Collection[str] = ()) -> None:
    """Keep the weights of `model` in bfloat16; onnxruntime makes them float32 when it opens the graph.

    Half the file, and the speed of float32: its CPU provider has no arithmetic in bfloat16.
    """
    before: dict[str, list[NodeProto]] = {}
    for layer in layers_of(model):
        if layer.name in in_float:
            continue
        of = f"{layer.output}/weight"
        add_constant(model, f"{of}/bfloat16", layer.weight.astype(ml_dtypes.bfloat16))
        bias = layer.node.input[2] if layer.bias is not None else None
        take_constants(model, layer, of, bias)
        before[layer.output] = [helper.make_node("Cast", [f"{of}/bfloat16"], [of], to=TensorProto.FLOAT)]
    insert_nodes(model, before)
