"""C by emx-onnx-cgen, for graphs that aetool's core lacks something for: convolutions, recurrent layers."""

import re
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from aetool.bundle.bundle import Bundle
from aetool.deploy._c_check import OUTPUTS, given_to
from aetool.deploy._c_source import CSource, fit
from aetool.deploy._child import in_child
from aetool.deploy._deployment import admitted
from aetool.errors import DependencyError, ExportError

# A graph as the generator of C may see it: numbers, shapes and operators, every name made here.
#
# The generator writes names, attributes and descriptions into its code and its comments. Nothing that the author
# of a graph wrote gets that far.

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_WORD = re.compile(r"\w*", re.ASCII)
_TEXT = re.compile(r"[\w,.> -]*", re.ASCII)
"""Text that operators take: a mode, a direction, an equation."""


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
    """Copy nodes and constants under their new names."""
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
    """Copy an input or output, sizes that are not numbers left open."""
    kind: Any = old.type.tensor_type
    sizes = [axis.dim_value or None for axis in kind.shape.dim]
    return helper.make_tensor_value_info(names[old.name], kind.elem_type, sizes)


def _plain(bundle: Bundle, graph: str) -> bytes:
    try:
        model = plain_graph(onnx.load_from_string(admitted(bundle, graph)), graph, given_to(graph), OUTPUTS[graph])
    except ExportError as error:
        raise ExportError(f"{bundle.path}: {graph}: {error}") from error
    content: bytes = model.SerializeToString()
    return content


def generated(bundle: Bundle, graphs: Iterable[str], name: str) -> dict[str, CSource]:
    """Return the C of graphs, whose names begin with `name`.

    Raises:
        BundleError: a graph is not let in.
        ExportError: no C can be generated for it.
        DependencyError: the generator is not installed.
    """
    if find_spec("emx_onnx_cgen") is None:  # it is imported in a process of its own
        raise DependencyError("emx-onnx-cgen", "deploy", "deploying to c")
    plain = {graph: _plain(bundle, graph) for graph in graphs}
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        for graph, content in plain.items():
            Path(folder, f"{graph}.onnx").write_bytes(content)
        in_child("generation of C", Path(folder), str(bundle.path))
        codes = {graph: Path(folder, f"{graph}.c").read_text(encoding="utf-8") for graph in plain}
    return {graph: fit(code, "graph", f"{name}_{graph}") for graph, code in codes.items()}
