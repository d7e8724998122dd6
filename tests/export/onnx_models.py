"""Other people's ONNX files, small, made without torch: what `adopt` is tried on."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH = 6
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w1": RNG.normal(size=(WIDTH, 3)).astype(np.float32),
    "b1": RNG.normal(size=3).astype(np.float32),
    "w2": RNG.normal(size=(3, WIDTH)).astype(np.float32),
    "b2": RNG.normal(size=WIDTH).astype(np.float32),
}


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def layers(x="x", z="z", y="y"):
    return [
        helper.make_node("Gemm", [x, "w1", "b1"], ["before"]),
        helper.make_node("Tanh", ["before"], [z]),
        helper.make_node("Gemm", [z, "w2", "b2"], [y]),
    ]


def model_of(nodes, inputs, outputs, weights=WEIGHTS, opset=18, ir=8, imports=(), **metadata):
    """A model of nodes, with weights by name."""
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()]
    )
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(*each) for each in imports)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=ir)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    return model


def plain(batch="n", opset=18, outputs=("z", "y"), **more):
    shapes = {"z": [batch, 3], "y": [batch, WIDTH]}
    return model_of(
        layers(), [info("x", [batch, WIDTH])], [info(o, shapes[o]) for o in outputs], opset=opset, **more
    )


def rows_of(*shape, count=40, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *(shape or (WIDTH,)))).astype(np.float32)


def one_by_one(model, rows):
    """Every output of the file by name, each row in a run of its own."""
    model = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    exact = onnxruntime.SessionOptions()  # 8-bit products saturate without it where the processor has no VNNI
    exact.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, exact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    runs = [session.run(names, {session.get_inputs()[0].name: row[None]}) for row in rows]
    return {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)}


def assert_same(model, bundle, rows, y="y", z=None):
    found = one_by_one(model, rows)
    np.testing.assert_allclose(bundle.reconstruct(rows), found[y], rtol=1e-5, atol=1e-6)
    residual = (rows.astype(np.float64) - found[y]).reshape(len(rows), -1)
    np.testing.assert_allclose(bundle.score(rows), (residual**2).mean(axis=1), rtol=1e-6)
    if z is not None:
        np.testing.assert_allclose(bundle.encode(rows), found[z], rtol=1e-5, atol=1e-6)


def before_layers(*nodes, **more):
    return model_of([*nodes, *layers(x="taken")], [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], **more)


def batch_norm(**how):
    values = {name: np.ones(WIDTH, np.float32) for name in ("scale", "bias", "mean", "variance")}
    outputs = ["taken", "new_mean", "new_variance"] if how else ["taken"]
    return before_layers(
        helper.make_node("BatchNormalization", ["x", *values], outputs, **how), weights={**WEIGHTS, **values}
    )


def external(path, **entries):
    """Weights in a file beside the model; entries change where they are said to be."""
    model = plain()
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key in entries:
            entry.value = str(entries[entry.key])
    path.write_bytes(model.SerializeToString())
    return path
