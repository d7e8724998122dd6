"""The nodes around somebody else's graph: scaling before it, raw units, score and decision after it."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from aetool.model.scored import Scaling, Score


def rename(model: ModelProto, names: dict[str, str]) -> None:
    """Give values of the graph other names, everywhere they stand."""
    for node in model.graph.node:
        for places in (node.input, node.output):
            for i, name in enumerate(places):
                places[i] = names.get(name, name)
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        value.name = names.get(value.name, value.name)
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def add_scoring(
    model: ModelProto, *, score: Score, threshold: float, scaling: Scaling | None, row_shape: tuple[int, ...]
) -> None:
    """Turn a graph z -> y (and embedding) into features -> reconstruction, score, is_anomaly (and embedding).

    The graph's input must be named "z", the output that has its shape "y". Needs opset 13 or later.
    """
    graph = model.graph
    weights: dict[str, np.ndarray] = {
        "aetool/axes": np.array([1], np.int64),
        "aetool/threshold": np.array(threshold, np.float32),
    }
    before, after = [], []
    if scaling is None:
        rename(model, {"z": "features", "y": "reconstruction"})
        z, y = "features", "reconstruction"
    else:
        z, y = "z", "y"
        mean = scaling.mean.astype(np.float32)
        weights |= {
            "aetool/mean": mean,
            "aetool/mean_rest": (scaling.mean - mean).astype(np.float32),
            "aetool/gain": (1 / scaling.scale).astype(np.float32),
            "aetool/scale": scaling.scale.astype(np.float32),
        }
        before = [
            helper.make_node("Sub", ["features", "aetool/mean"], ["aetool/near"]),
            helper.make_node("Sub", ["aetool/near", "aetool/mean_rest"], ["aetool/centred"]),
            helper.make_node("Mul", ["aetool/centred", "aetool/gain"], ["z"]),
        ]
        after = [
            helper.make_node("Mul", ["y", "aetool/scale"], ["aetool/scaled"]),
            helper.make_node("Add", ["aetool/scaled", "aetool/mean"], ["reconstruction"]),
        ]
        graph.input[0].name = "features"
    after.append(helper.make_node("Sub", [z, y], ["aetool/residual"]))
    flat = "aetool/residual"
    if len(row_shape) > 1:
        flat = "aetool/flat"
        after.append(helper.make_node("Flatten", ["aetool/residual"], [flat], axis=1))
    if score == "mae":
        after.append(helper.make_node("Abs", [flat], ["aetool/distance"]))
    else:
        after.append(helper.make_node("Mul", [flat, flat], ["aetool/distance"]))
    total = "aetool/total" if score in ("mse", "mae", "euclidean") else "score"
    after.append(helper.make_node("ReduceSum", ["aetool/distance", "aetool/axes"], [total], keepdims=0))
    if score == "euclidean":
        after.append(helper.make_node("Sqrt", [total], ["score"]))
    else:
        weights["aetool/share"] = np.array(1 / np.prod(row_shape), np.float32)
        after.append(helper.make_node("Mul", [total, "aetool/share"], ["score"]))
    after += [
        helper.make_node("LessOrEqual", ["score", "aetool/threshold"], ["aetool/normal"]),
        helper.make_node("Not", ["aetool/normal"], ["is_anomaly"]),
    ]
    inner = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *inner, *after])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    kept = [value for value in graph.output if value.name == "embedding"]
    del graph.output[:]
    graph.output.extend(
        [
            *kept,
            helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT, ["batch", *row_shape]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("is_anomaly", TensorProto.BOOL, ["batch"]),
        ]
    )
