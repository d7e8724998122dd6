"""Which values between a graph's nodes the runtime may bind to memory: see `aetool.runtime.inner_values`."""

import tempfile
from pathlib import Path

import onnx
import onnxruntime
from onnx import shape_inference

from aetool.export.batch import BATCH
from aetool.runtime.graph import TYPES

_FATAL_ALONE = 4
"""Severity from which onnxruntime writes to stderr: it raises its errors too, in the same words."""


def inner_values(model: bytes) -> tuple[str, ...]:
    """Names of the values that are still there when onnxruntime has fused what it can, each with the batch first.

    Of graphs of tables alone: with images, onnxruntime reorders memory between nodes, which outputs would undo.
    """
    graph = shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    if len(graph.input[0].type.tensor_type.shape.dim) != 2:
        return ()
    usable = {value.name for value in graph.value_info if _has_rows(value)}
    left = {name for node in _optimised(model).graph.node for name in node.output}
    # In the order of the graph, so that two exports give the same bytes.
    return tuple(name for node in graph.node for name in node.output if name in usable & left)


def _has_rows(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    batch, *row = tensor.shape.dim or [onnx.TensorShapeProto.Dimension()]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return batch.dim_param == BATCH and all(side.dim_value > 0 for side in row) and f"tensor({kind})" in TYPES


def _optimised(model: bytes) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ALONE
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return onnx.load(path)
