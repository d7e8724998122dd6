"""The layers of a graph: products with constant matrices, which take nearly all of the work and the bytes."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_KINDS = ("Gemm", "MatMul", "Conv")
_COMPARED_BY = {"ReduceMax", "ArgMax"}
"""Operators that only compare what a product gives: the nearest prototype, which rounding would confuse."""
_COMMON = "/in_common_range"
Weight = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One product of a graph, in float32."""

    name: str
    """Name of its weight, as in the file."""
    node: NodeProto
    """The node in the graph: changing it changes the graph."""
    source: str
    """Name of the multiplied value."""
    weight: Weight
    """(in, out), (out, in), or (out, in, ...) for Conv."""
    out_axis: int
    """Axis of the weight with one entry per channel of the output."""
    bias: Weight | None
    """(out,); None where nothing constant is added."""

    @property
    def kind(self) -> str:
        """Return the operator's type."""
        return str(self.node.op_type)

    @property
    def output(self) -> str:
        """Return the name of the output."""
        return str(self.node.output[0])


def layers_of(model: ModelProto) -> list[Layer]:
    """Return every layer of the network in order, except those with constants of another type than float32."""
    return list(_found(model, compared=False))


def compared_layers_of(model: ModelProto) -> list[Layer]:
    """Return the layers whose results are only compared, which are none of the network."""
    return list(_found(model, compared=True))


def _found(model: ModelProto, *, compared: bool) -> Iterator[Layer]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for node in model.graph.node:
        if (readers.get(node.output[0], {""}) <= _COMPARED_BY) is not compared:
            continue
        if node.op_type not in _KINDS or node.input[1] not in constants or node.input[0] in constants:
            continue
        names = [name for name in node.input[1:] if name]
        tensors = [constants.get(name) for name in names]
        if any(tensor is None or tensor.data_type != TensorProto.FLOAT for tensor in tensors):
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight, *bias = (np.asarray(numpy_helper.to_array(tensor), np.float32) for tensor in tensors if tensor)
        if node.op_type == "Gemm" and (
            attributes.get("transA", 0) or (bias and attributes.get("beta", 1.0) != 1.0) or weight.ndim != 2
        ):
            continue
        if node.op_type == "MatMul" and weight.ndim != 2:
            continue
        out_axis = 0 if node.op_type == "Conv" or attributes.get("transB", 0) else weight.ndim - 1
        channels = weight.shape[out_axis]
        weight = weight * np.float32(attributes.get("alpha", 1.0)) if node.op_type == "Gemm" else weight
        full_bias = np.broadcast_to(bias[0].reshape(-1), (channels,)).copy() if bias else None
        yield Layer(names[0].removesuffix(_COMMON), node, str(node.input[0]), weight, out_axis, full_bias)


def in_common_range(name: str) -> str:
    """Return the name of a layer's weight in the common range; the layer keeps its name."""
    return name + _COMMON


def take_constants(model: ModelProto, layer: Layer, weight: str, bias: str | None) -> None:
    """Let a layer read other values than its constants."""
    inputs = [layer.node.input[0], weight] + ([bias] if bias is not None else [])
    del layer.node.input[:]
    layer.node.input.extend(inputs)
    for attribute in layer.node.attribute:
        if attribute.name == "alpha" and layer.kind == "Gemm":
            attribute.f = 1.0  # it is in the weight by now


def add_constant(model: ModelProto, name: str, values: NDArray[np.generic]) -> str:
    """Add a constant for new nodes to read; return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def insert_nodes(
    model: ModelProto,
    before: Mapping[str, Sequence[NodeProto]],
    after: Mapping[str, Sequence[NodeProto]] = MappingProxyType({}),
) -> None:
    """Put new nodes around those that make the values named; nodes taken from the graph earlier are stale then."""
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        made = node.output[0]
        nodes += [*before.get(made, ()), node, *after.get(made, ())]
    set_nodes(model, nodes)


def set_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Put these nodes in the place of the graph's own; references to its nodes are stale then."""
    copies = [copy.deepcopy(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
