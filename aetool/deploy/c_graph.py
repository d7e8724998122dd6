"""A graph as the generator of C may see it: numbers, shapes and operators, every name made here.

The generator writes names, attributes and descriptions into its code and its comments. Nothing that the author of
a graph wrote gets that far.
"""

import re
from collections.abc import Iterable
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from aetool.errors import ExportError

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_WORD = re.compile(r"\w*", re.ASCII)
_TEXT = re.compile(r"[\w,.> -]*", re.ASCII)
"""What operators take as text: a mode, a direction, an equation."""


def plain_graph(model: ModelProto, graph: str, given: str, outputs: Iterable[str]) -> ModelProto:
    """Return `model`, for one row, with its input called `given` and all but `outputs` called v1, v2, ...

    Raises:
        ExportError: an attribute holds text that no operator takes.
    """
    old, wanted = model.graph, set(outputs)
    kept = [value for value in old.output if value.name in wanted]
    names = _Names({old.input[0].name: given, **{value.name: value.name for value in kept}})
    made = _copy(old, graph, names)
    made.input.append(_value(old.input[0], names))
    made.output.extend(_value(value, names) for value in kept)
    for value in (*made.input, *made.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    opsets = [
        helper.make_opsetid(entry.domain, entry.version)
        for entry in model.opset_import
        if entry.domain in _DOMAINS
    ]
    return helper.make_model(made, opset_imports=opsets, ir_version=model.ir_version, producer_name="")


class _Names(dict[str, str]):
    """Old name -> new name; an empty one stands for an input that is left out."""

    def __missing__(self, name: str) -> str:
        self[name] = new = f"v{len(self)}" if name else ""
        return new


def _copy(old: GraphProto, title: str, names: _Names) -> GraphProto:
    """Nodes and constants under their new names."""
    made = GraphProto(name=title, initializer=[_tensor(tensor, names[tensor.name]) for tensor in old.initializer])
    for node in old.node:
        copied = NodeProto(op_type=node.op_type, domain=node.domain)
        copied.input.extend(names[name] for name in node.input)
        copied.output.extend(names[name] for name in node.output)
        # No operator knows an attribute by another name: it means nothing.
        known = (attribute for attribute in node.attribute if _WORD.fullmatch(attribute.name))
        copied.attribute.extend(_attribute(attribute, node, names) for attribute in known)
        made.node.append(copied)
    return made


def _attribute(old: AttributeProto, node: NodeProto, names: _Names) -> AttributeProto:
    if not all(_TEXT.fullmatch(text.decode("utf-8", "replace")) for text in (old.s, *old.strings)):
        raise ExportError(
            f"no C can be generated: the attribute {old.name} of an operator {node.op_type} holds text that "
            "the operator does not take; use another target"
        )
    made = AttributeProto()
    made.CopyFrom(old)
    made.ClearField("doc_string")
    made.ClearField("ref_attr_name")
    for tensor in (*([made.t] if old.HasField("t") else []), *made.tensors):
        tensor.CopyFrom(_tensor(tensor, ""))
    for inner in (*([made.g] if old.HasField("g") else []), *made.graphs):
        copied = _copy(inner, "inner", names)
        copied.input.extend(_value(value, names) for value in inner.input)
        copied.output.extend(_value(value, names) for value in inner.output)
        inner.CopyFrom(copied)
    return made


def _tensor(old: TensorProto, name: str) -> TensorProto:
    made = TensorProto()
    made.CopyFrom(old)
    made.name = name
    made.ClearField("doc_string")
    del made.metadata_props[:]
    return made


def _value(old: ValueInfoProto, names: _Names) -> ValueInfoProto:
    """With the sizes that are numbers; the others have names."""
    kind: Any = old.type.tensor_type
    sizes = [axis.dim_value or None for axis in kind.shape.dim]
    return helper.make_tensor_value_info(names[old.name], kind.elem_type, sizes)
