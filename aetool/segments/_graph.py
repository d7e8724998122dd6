"""The segmenter as a graph: a bundle's encoder, followed by the distances to the centres."""

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from aetool.bundle.manifest import SEGMENTER
from aetool.segments._clustering import LIMIT, Clustering


def segmenter(encoder: bytes, clustering: Clustering) -> bytes:
    """Build the graph features -> segment (rows,) int64, distance (rows, clusters).

    In float64 after the embedding, with |z - c|^2 = |z|^2 - 2 z c + |c|^2, as scikit-learn computes it: float32
    would give rows between two centres to the wrong one. An embedding that is no number is in segment -1, at no
    distance.
    """
    model = onnx.load_from_string(encoder)
    graph, centres = model.graph, clustering.centres
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    weights = {
        "mean": clustering.mean,
        "scale": clustering.scale,
        "limit": np.float64(LIMIT),
        "-limit": np.float64(-LIMIT),
        "zero": np.float64(0),
        "columns": np.array([1], np.int64),
        "-2 centres": np.ascontiguousarray(-2 * centres.T),
        "squared centres": (centres**2).sum(axis=1),
        "none": np.int64(-1),
    }
    nodes = [
        _node("Flatten", ["embedding"], "flat", axis=1),
        _node("Cast", ["flat"], "wide", to=TensorProto.DOUBLE),
        _node("Sub", ["wide", "mean"], "centred"),
        _node("Div", ["centred", "scale"], "standardised"),
        # 0, or NaN where a number is none: not all versions of Clip, Max and ArgMin hand NaN on.
        _node("Mul", ["standardised", "zero"], "zeros"),
        _node("ReduceSum", ["zeros", "columns"], "spoilt", keepdims=1),
        _node("Clip", ["standardised", "-limit", "limit"], "z"),
        _node("Mul", ["z", "z"], "squares"),
        _node("ReduceSum", ["squares", "columns"], "length", keepdims=1),
        _node("MatMul", ["z", "-2 centres"], "products"),
        _node("Add", ["products", "squared centres"], "without length"),
        _node("Add", ["without length", "length"], "squared"),
        _node("Max", ["squared", "zero"], "positive"),
        _node("Sqrt", ["positive"], "root"),
        _node("Add", ["root", "spoilt"], "distances"),
        _node("ArgMin", ["squared"], "nearest", axis=1, keepdims=0),
        _node("Squeeze", ["spoilt", "columns"], "spoilt row"),
        _node("Equal", ["spoilt row", "zero"], "known"),
        _node("Where", ["known", "nearest", "none"], "segment"),
        _node("Cast", ["distances"], "distance", to=TensorProto.FLOAT),
    ]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), _inside(name)) for name, v in weights.items())
    del graph.output[:], graph.value_info[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("segment", TensorProto.INT64, [batch]),
            helper.make_tensor_value_info("distance", TensorProto.FLOAT, [batch, len(centres)]),
        ]
    )
    graph.name = SEGMENTER
    stated = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**stated, "graph": SEGMENTER, "segments": str(len(centres))})
    onnx.checker.check_model(model, full_check=True)
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, [_inside(name) for name in inputs], [_inside(output)], **attributes)


def _inside(name: str) -> str:
    """Prefix a name unless it is one of the encoder's or of the outputs."""
    return name if name in ("embedding", "segment", "distance") else f"segments/{name}"
