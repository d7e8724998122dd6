"""An ONNX file becomes a bundle that scores as the file does, one row at a time, or is refused with the reason."""

import json

import numpy as np
import onnx
import onnxruntime
import peoples_modules as modules
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import aetool
from aetool import selftest
from aetool.errors import AetoolError, ExportError, InputError
from aetool.export import AdoptOptions, ExportOptions, adopt

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
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    runs = [session.run(names, {session.get_inputs()[0].name: row[None]}) for row in rows]
    return {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)}


@pytest.fixture
def adopted(tmp_path):
    """adopted(model, rows): save, adopt, check against itself, open."""

    def apply(model, rows=None, reading=None, options=None, **more):
        if isinstance(model, onnx.ModelProto):
            onnx.save(model, tmp_path / "m.onnx")
            model = tmp_path / "m.onnx"
        rows = rows_of() if rows is None else rows
        adopt(model, tmp_path / "b", rows, reading=reading, options=options, **more)
        assert all(record.passed for record in selftest.verify_bundle(tmp_path / "b"))
        return aetool.load(tmp_path / "b")

    return apply


def assert_same(model, bundle, rows, y="y", z=None):
    found = one_by_one(model, rows)
    np.testing.assert_allclose(bundle.reconstruct(rows), found[y], rtol=1e-5, atol=1e-6)
    residual = (rows.astype(np.float64) - found[y]).reshape(len(rows), -1)
    np.testing.assert_allclose(bundle.score(rows), (residual**2).mean(axis=1), rtol=1e-6)
    if z is not None:
        np.testing.assert_allclose(bundle.encode(rows), found[z], rtol=1e-5, atol=1e-6)


# What works


@pytest.mark.parametrize("batch", ["n", None, 1])
def test_a_free_batch_or_one_of_1_scores_as_the_file_row_by_row(batch, adopted):
    bundle = adopted(plain(batch))
    assert bundle.graphs == ("encoder", "decoder", "autoencoder", "detector")
    assert_same(plain(batch), bundle, rows_of(), z="z")


@pytest.mark.parametrize("opset", [11, 12, 13, 15, 17, 19, 21, 23, 25])
def test_files_of_every_opset_are_taken(opset, adopted):
    assert_same(plain(opset=opset), adopted(plain(opset=opset)), rows_of(), z="z")


@pytest.mark.parametrize("converted", [13, 17, 20])
def test_an_opset_asked_for_is_written(converted, adopted):
    bundle = adopted(plain(opset=18), options=ExportOptions(opset=converted))
    assert bundle.manifest.opset == converted
    assert_same(plain(), bundle, rows_of(), z="z")


def exported(module, shape, path, batch):
    """By torch, with the batch fixed or free."""
    module = module.eval()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamo": True, "verbose": False}
    dynamic = None if batch == 1 else ({0: torch.export.Dim("n")},)
    torch.onnx.export(module, (torch.randn(batch, *shape),), path, dynamic_shapes=dynamic, **names)
    return path


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(modules.Convolutional, (3, 8, 8)), (modules.RecurrentOneRow, (5, 4)), (modules.FixedReshape, (5, 4))],
)
def test_a_batch_of_1_that_torch_fixed_is_freed(kind, shape, adopted, tmp_path):
    torch.manual_seed(0)
    path, rows = exported(kind(), shape, tmp_path / "t.onnx", 1), rows_of(*shape)
    assert_same(path, adopted(path, rows), rows)


def test_a_file_that_declares_a_free_batch_but_holds_a_constant_of_one_row_is_freed(adopted):
    weights = {**WEIGHTS, "one": np.array([1, WIDTH])}
    nodes = [*layers(y="flat"), helper.make_node("Reshape", ["flat", "one"], ["y"])]
    model = model_of(nodes, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], weights)
    assert_same(model, adopted(model), rows_of())


def test_initial_states_made_of_a_constant_shape_are_freed(adopted):
    weights = {
        "w": RNG.normal(size=(1, 16, 4)).astype(np.float32),
        "r": RNG.normal(size=(1, 16, 4)).astype(np.float32),
        "b": RNG.normal(size=(1, 32)).astype(np.float32),
        "shape": np.array([1, 1, 4]),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["h"]),
        helper.make_node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["sequence", "w", "r", "b", "", "h", "h"], ["steps"], hidden_size=4),
        helper.make_node("Squeeze", ["steps", "axis"], ["hidden"]),
        helper.make_node("Transpose", ["hidden"], ["y"], perm=[1, 0, 2]),
    ]
    model = model_of(nodes, [info("x", [1, 5, 4])], [info("y", [1, 5, 4])], weights)
    assert_same(model, adopted(model, rows_of(5, 4)), rows_of(5, 4))


def test_weights_that_are_listed_as_inputs_are_weights(adopted):
    inputs = [info("x", ["n", WIDTH]), *(info(name, value.shape) for name, value in WEIGHTS.items())]
    model = model_of(layers(), inputs, [info("y", ["n", WIDTH])], opset=11, ir=3)
    assert_same(model, adopted(model), rows_of())


def test_constant_nodes_are_weights(adopted):
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in WEIGHTS.items()
    ]
    model = model_of([*nodes, *layers()], [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], {})
    assert_same(model, adopted(model), rows_of())


def test_inner_graphs_may_read_outer_values_and_weights(adopted):
    """The branch reads the input, an inner result and a weight, under names that could be taken for ours."""
    nodes = layers(x="features", y="score")
    yes = helper.make_graph(
        [helper.make_node("Add", ["score", "b2"], ["t"]), helper.make_node("Sub", ["t", "features"], ["yes"])],
        "yes",
        [],
        [info("yes", None)],
    )
    no = helper.make_graph([helper.make_node("Identity", ["score"], ["no"])], "no", [], [info("no", None)])
    nodes.append(helper.make_node("If", ["always"], ["out"], then_branch=yes, else_branch=no))
    weights = {**WEIGHTS, "always": np.array(True)}
    outputs = [info("z", ["n", 3]), info("out", ["n", WIDTH])]
    model = model_of(nodes, [info("features", ["n", WIDTH])], outputs, weights)
    bundle = adopted(model)
    assert "decoder" not in bundle.graphs  # its reconstruction needs the features
    assert_same(model, bundle, rows_of(), y="out", z="z")


@pytest.mark.parametrize(
    ("x", "z", "y"),
    [
        ("features", "embedding", "reconstruction"),
        ("reconstruction", "score", "features"),
        ("y", "model/y", "z"),
        ("model/features", "is_anomaly", "model/z"),
        ("aetool/residual", "aetool/mean", "aetool/scale"),
        ("0", "1", "2"),
    ],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_names_in_the_file_do_not_collide_with_ours(x, z, y, scaled, adopted):
    outputs = [info(y, ["n", WIDTH]), info(z, ["n", 3])]
    model = model_of(layers(x, z, y), [info(x, ["n", WIDTH])], outputs)
    reading = AdoptOptions((f"embedding={z}", f"reconstruction={y}"))
    if not scaled:
        assert_same(model, adopted(model, reading=reading), rows_of(), y=y, z=z)
        return
    bundle = adopted(model, reading=AdoptOptions(reading.outputs, mean=[0.0] * WIDTH, scale=[1.0] * WIDTH))
    assert_same(model, bundle, rows_of(), y=y, z=z)


def test_extra_outputs_in_any_order_are_left_out(adopted):
    nodes = [
        *layers(),
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("ReduceSum", ["y", "axis"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["z", "front"], ["states"]),
    ]
    outputs = [
        info("states", [1, "n", 3]),  # as a recurrent layer gives them: the batch is not in front
        info("sum", ["n"]),
        info("y", ["n", WIDTH]),
        info("size", [2], TensorProto.INT64),
        info("z", ["n", 3]),
    ]
    weights = {**WEIGHTS, "axis": np.array([1]), "front": np.array([0])}
    model = model_of(nodes, [info("x", ["n", WIDTH])], outputs, weights)
    bundle = adopted(model)
    assert_same(model, bundle, rows_of(), z="z")
    assert "ReduceSum" not in {
        node.op_type for node in onnx.load_from_string(bundle._bundle.graph("encoder")).graph.node
    }


def test_an_output_that_others_are_computed_from_is_both(adopted):
    nodes = [
        *layers(),
        helper.make_node("Sub", ["x", "y"], ["error"]),
        helper.make_node("Mul", ["error", "y"], ["more"]),
    ]
    outputs = [info("y", ["n", WIDTH]), info("more", ["n", WIDTH])]
    model = model_of(nodes, [info("x", ["n", WIDTH])], outputs)
    bundle = adopted(model, reading=AdoptOptions(("reconstruction",)))
    assert_same(model, bundle, rows_of())


def test_an_input_that_is_also_an_output_is_no_reconstruction(adopted):
    model = model_of(layers(), [info("x", ["n", WIDTH])], [info("x", ["n", WIDTH]), info("y", ["n", WIDTH])])
    assert_same(model, adopted(model), rows_of())


def test_an_identity_reconstructs_without_error(adopted):
    model = model_of(
        [helper.make_node("Identity", ["x"], ["y"])], [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], {}
    )
    assert (adopted(model).score(rows_of()) == 0).all()


def test_shapes_that_the_file_does_not_tell_come_from_the_rows(adopted):
    model = model_of(layers(), [info("x", ["n", "width"])], [info("y", ["a", "b"]), info("z", ["a", "c"])])
    bundle = adopted(model)
    assert (bundle.input_shape, bundle.manifest.embedding_shape) == ((WIDTH,), (3,))
    assert_same(model, bundle, rows_of(), z="z")


def test_channels_may_be_last(adopted):
    weights = {
        "down": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "up": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "down"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
    ]
    for batch in (1, "n"):
        model = model_of(nodes, [info("x", [batch, 8, 8, 3])], [info("y", [batch, 8, 8, 3])], weights)
        bundle = adopted(model, rows_of(8, 8, 3), options=ExportOptions(overwrite=True))
        assert_same(model, bundle, rows_of(8, 8, 3))


def test_operators_of_other_domains_that_onnxruntime_knows_are_kept(adopted):
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5] * WIDTH, scale=[2.0] * WIDTH),
        *layers(x="s", y="linear"),
        helper.make_node("Gelu", ["linear"], ["y"], domain="com.microsoft"),
    ]
    outputs = [info("z", ["n", 3]), info("y", ["n", WIDTH])]
    imports = [("ai.onnx.ml", 3), ("com.microsoft", 1)]
    model = model_of(nodes, [info("x", ["n", WIDTH])], outputs, imports=imports)
    assert_same(model, adopted(model), rows_of(), z="z")


def test_local_functions_are_kept(adopted):
    function = helper.make_function(
        "mine", "Squash", ["a"], ["b"], [helper.make_node("Tanh", ["a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    nodes = [*layers(y="linear"), helper.make_node("Squash", ["linear"], ["y"], domain="mine")]
    model = model_of(nodes, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], imports=[("mine", 1)])
    model.functions.append(function)
    assert_same(model, adopted(model), rows_of())


def test_a_mask_of_minus_infinity_is_a_weight_like_others(adopted):
    mask = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["a"]),
        helper.make_node("Add", ["a", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "x"], ["y"]),
    ]
    weights = {"w": RNG.normal(size=(4, 4)).astype(np.float32), "mask": mask}
    model = model_of(nodes, [info("x", ["n", 5, 4])], [info("y", ["n", 5, 4])], weights)
    assert_same(model, adopted(model, rows_of(5, 4)), rows_of(5, 4))


# Quantised


class Rows:
    """Calibration data, one batch."""

    def __init__(self, rows):
        self.rows = iter([{"x": rows}])

    def get_next(self):
        return next(self.rows, None)


def test_a_quantised_file_scores_as_it_does_alone(adopted, tmp_path):
    from onnxruntime.quantization import QuantFormat, quantize_static, shape_inference

    torch.manual_seed(0)
    path = exported(modules.Plain(), (WIDTH,), tmp_path / "t.onnx", 3)
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)
    shape_inference.quant_pre_process(str(path), str(tmp_path / "p.onnx"))
    quantised = tmp_path / "q.onnx"
    quantize_static(tmp_path / "p.onnx", quantised, Rows(rows_of()), quant_format=QuantFormat.QDQ)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(quantised).graph.node}
    assert_same(quantised, adopted(quantised), rows_of())


# Thresholds and scalers


def scaled_scores(model, rows, mean, scale):
    z = (rows.astype(np.float64) - mean) / scale
    y = one_by_one(model, z.astype(np.float32))["y"]
    return ((z - y) ** 2).reshape(len(z), -1).mean(axis=1), y * scale + mean


def test_a_scaler_goes_in_front_even_far_from_zero(adopted):
    mean, scale = 1e5 + np.arange(6.0) * 1.1, np.linspace(0.5, 3, 6)
    rows = (rows_of() * scale + mean).astype(np.float32)
    bundle = adopted(plain(), rows, AdoptOptions(mean=mean, scale=list(scale)))
    score, reconstruction = scaled_scores(plain(), rows, mean, scale)
    np.testing.assert_allclose(bundle.score(rows), score, rtol=1e-6)
    np.testing.assert_allclose(bundle.reconstruct(rows), reconstruction, rtol=1e-6)


def test_scaler_and_threshold_are_read_from_the_metadata(adopted):
    mean, scale = [1.5] * WIDTH, [2.0] * WIDTH
    bundle = adopted(plain(threshold=0.75, mean=json.dumps(mean), scale=json.dumps(scale)))
    assert bundle.threshold == 0.75
    score, _ = scaled_scores(plain(), rows_of(), np.array(mean), np.array(scale))
    np.testing.assert_allclose(bundle.score(rows_of()), score, rtol=1e-6)
    assert np.array_equal(bundle.detect(rows_of()), score > 0.75)


def test_one_number_scales_images(adopted):
    model = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], [info("x", ["n", 2, 3])], [info("y", ["n", 2, 3])], {}
    )
    rows = rows_of(2, 3) * 50 + 128
    bundle = adopted(model, rows, AdoptOptions(mean=[128], scale=[50]))
    np.testing.assert_allclose(bundle.score(rows), scaled_scores(model, rows, 128, 50)[0], rtol=1e-6)


def test_an_option_stands_above_the_metadata(adopted):
    assert adopted(plain(threshold=0.75), options=ExportOptions(threshold=0.5)).threshold == 0.5
    flagged = adopted(plain(threshold=1e9), options=ExportOptions(contamination=0.25, overwrite=True)).detect(
        rows_of()
    )
    assert flagged.mean() == pytest.approx(0.25)


@pytest.mark.parametrize("score", ["mse", "mae", "euclidean"])
def test_the_score_is_the_one_asked_for(score, adopted):
    residual = rows_of().astype(np.float64) - one_by_one(plain(), rows_of())["y"]
    expected = {
        "mse": (residual**2).mean(axis=1),
        "mae": np.abs(residual).mean(axis=1),
        "euclidean": np.sqrt((residual**2).sum(axis=1)),
    }[score]
    bundle = adopted(plain(), reading=AdoptOptions(score=score))
    np.testing.assert_allclose(bundle.score(rows_of()), expected, rtol=1e-6)


# What is refused


def with_weight(value, name="w1", at=0):
    changed = WEIGHTS[name].copy()
    changed.flat[at] = value
    return plain_with({name: changed})


def plain_with(weights):
    return model_of(layers(), [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], {**WEIGHTS, **weights})


def before_layers(*nodes, **more):
    return model_of([*nodes, *layers(x="taken")], [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], **more)


def typed(kind):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return model_of(nodes, [info("x", ["n", WIDTH], kind)], [info("y", ["n", WIDTH], kind)], {})


def classifier():
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
    ]
    return model_of(nodes, [info("x", ["n", WIDTH])], [info("p", ["n", 3])])


def two_inputs():
    inputs = [info("x", ["n", WIDTH]), info("condition", ["n", WIDTH])]
    return model_of([helper.make_node("Add", ["x", "condition"], ["y"])], inputs, [info("y", ["n", WIDTH])], {})


def batch_norm(**how):
    values = {name: np.ones(WIDTH, np.float32) for name in ("scale", "bias", "mean", "variance")}
    outputs = ["taken", "new_mean", "new_variance"] if how else ["taken"]
    return before_layers(
        helper.make_node("BatchNormalization", ["x", *values], outputs, **how), weights={**WEIGHTS, **values}
    )


def dropout():
    values = {"ratio": np.float32(0.5), "mode": np.array(True)}
    return before_layers(
        helper.make_node("Dropout", ["x", "ratio", "mode"], ["taken"]), weights={**WEIGHTS, **values}
    )


def mixing():
    weights = {**WEIGHTS, "batch": np.array([0])}
    mean = helper.make_node("ReduceMean", ["x", "batch"], ["mean"])
    return before_layers(mean, helper.make_node("Sub", ["x", "mean"], ["taken"]), weights=weights)


def nobodys(domain, imports=()):
    return before_layers(helper.make_node("Frobnicate", ["x"], ["taken"], domain=domain), imports=imports)


def of_aetool():
    model = plain(bundle="0", name="mine")
    model.producer_name = "aetool"
    return model


REFUSED = {
    "classifier": (classifier, r"none has it: p \(7, 3\).*--outputs"),
    "two inputs": (two_inputs, r"one input is expected, found 2 \(x, condition\); aetool takes"),
    "float64": (lambda: typed(TensorProto.DOUBLE), "must be float32, found double; export it with float32"),
    "float16": (lambda: typed(TensorProto.FLOAT16), "must be float32, found float16; export it with"),
    "codes": (lambda: typed(TensorProto.INT64), "must be float32, found int64; export it with float32"),
    "text": (lambda: typed(TensorProto.STRING), "must be float32, found string; export it with float32"),
    "noise": (
        lambda: before_layers(
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("Add", ["x", "noise"], ["taken"]),
        ),
        r"\(RandomNormalLike\) is random; make sampling depend on self.training",
    ),
    "dropout": (dropout, r"\(Dropout\) is in training mode; call eval"),
    "batch norm": (lambda: batch_norm(training_mode=1), r"\(BatchNormalization\) is in training mode; call eval"),
    "NaN weight": (lambda: with_weight(np.nan), "weight 'w1' holds NaN or infinity; train again"),
    "infinite weight": (lambda: with_weight(-np.inf), "weight 'w1' holds NaN or infinity; train again"),
    "unknown operator": (lambda: nobodys(""), "not a valid model: .*Frobnicate.*; export it again"),
    "unknown domain": (lambda: nobodys("mine", [("mine", 1)]), "onnxruntime .* refuses it: .*Frobnicate"),
    "batch of 4": (lambda: plain(4), r"x: a free batch or a batch of 1 .* found shape \[4, 6\]; export the model"),
    "rows that meet": (mixing, "changes the scores of its neighbours; make each row"),
    "threshold NaN": (lambda: plain(threshold="nan"), "threshold = 'nan', a finite number .*; pass --threshold"),
    "threshold in words": (lambda: plain(threshold="high"), "threshold = 'high', a finite .* pass --threshold"),
    "threshold negative": (lambda: plain(threshold=-1.0), "threshold: expected 0, or a number"),
    "mean NaN": (
        lambda: plain(mean="[NaN]", scale="[1]"),
        r"mean must be finite numbers, found '\[nan\]'; pass --mean",
    ),
    "mean in words": (lambda: plain(mean="0,1", scale="[1]"), "mean must be finite numbers, found '0,1'; pass"),
    "mean of texts": (lambda: plain(mean='["1"]', scale="[1]"), "mean must be finite numbers"),
    "mean alone": (lambda: plain(mean="[1]"), "mean and scale are expected together, found mean alone; give both"),
    "scale infinite": (lambda: plain(mean="[1]", scale="[Infinity]"), "scale must be finite numbers"),
    "scale 0": (
        lambda: plain(mean="[1]", scale="[1, 1, 1, 0, 1, 1]"),
        "scale must be above 0, found 0.*give 1 for",
    ),
    "scale for other columns": (lambda: plain(mean="[1]", scale="[1, 1]"), "found 2; mend --scale"),
    "graph of a bundle": (of_aetool, "is a graph of an aetool bundle already; use the bundle mine"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trusted_is_refused_with_cause_and_remedy(case, tmp_path):
    make, message = REFUSED[case]
    onnx.save(make(), tmp_path / "m.onnx")
    with pytest.raises(AetoolError, match=message) as caught:
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows_of())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_batch_norm_and_dropout_that_do_not_train_are_taken(adopted):
    assert_same(batch_norm(), adopted(batch_norm()), rows_of())


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"mean": [np.nan], "scale": [1]}, "mean must be finite"),
        ({"mean": [0], "scale": ["1"]}, "scale must be finite"),
        ({"mean": [0], "scale": [True]}, "scale must be finite"),
        ({"mean": [0], "scale": [0.0]}, "scale must be above 0"),
        ({"mean": [0], "scale": [-1.0]}, "scale must be above 0"),
        ({"mean": [], "scale": []}, "mean must be finite"),
        ({"mean": [0] * 5, "scale": [1] * 5}, "found 5; mend --mean"),
        ({"score": "rmse"}, "score: expected one of mse, mae, euclidean"),
        ({"outputs": ("nothing",)}, "--outputs"),
    ],
)
def test_options_that_are_no_numbers_are_refused(reading, message, tmp_path):
    onnx.save(plain(), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=message):
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows_of(), reading=AdoptOptions(**reading))


@pytest.mark.parametrize("threshold", [np.nan, -1, "0.5", True, 1e300])
def test_a_threshold_that_is_no_number_is_refused(threshold, tmp_path):
    onnx.save(plain(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="threshold: expected 0, or a number"):
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows_of(), options=ExportOptions(threshold=threshold))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of()[:0], "expected one or more rows"),
        (rows_of()[0], "expected one or more rows"),
        (rows_of(5), r"cannot run it on rows of shape \(1, 5\).*check --data"),
        (rows_of(6, 1), r"cannot run it on rows of shape \(1, 6, 1\).*check --data"),
        (rows_of().astype(str), "expected numbers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, message, tmp_path):
    onnx.save(plain(), tmp_path / "m.onnx")
    with pytest.raises(AetoolError, match=message):
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows)


@pytest.mark.parametrize("names", [["a"] * 6, ["a", "b"]])
def test_names_that_do_not_fit_the_rows_are_refused(names, tmp_path):
    onnx.save(plain(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="names: expected distinct names"):
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows_of(), names=names)


# Files that are no models, and data outside of them


def test_what_is_no_onnx_file_is_refused_with_the_reason(tmp_path):
    whole = plain().SerializeToString()
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("x,y\n1,2\n")
    (tmp_path / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "directory.onnx").mkdir()
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    for name in ("empty", "text", "truncated", "directory", "loop", "missing", "a\0b"):
        with pytest.raises(ExportError, match=r"give the \.onnx file|export it again") as caught:
            adopt(tmp_path / f"{name}.onnx", tmp_path / "b", rows_of())
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_a_link_to_a_model_is_followed(adopted, tmp_path):
    onnx.save(plain(), tmp_path / "blob")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "blob")
    assert_same(plain(), adopted(tmp_path / "model.onnx"), rows_of())


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


def test_data_beside_the_file_are_taken_inside(adopted, tmp_path):
    path = external(tmp_path / "m.onnx")
    bundle = adopted(path)
    (tmp_path / "weights.bin").unlink()
    assert_same(plain(), bundle, rows_of())


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../weights.bin"}, "must be a file beside the model"),
        ({"location": "/etc/passwd"}, "must be a file beside the model"),
        ({"location": ""}, "must be a file beside the model"),
        ({"location": "link.bin"}, "symbolic link.*must be a file beside the model"),
        ({"location": "missing.bin"}, "must be a file beside the model"),
        ({"offset": 10**9}, "the file was truncated"),
        ({"offset": -8}, "the file was truncated"),
        ({"offset": "x"}, "no valid offset or length"),
        ({"length": 10**9}, "the file was truncated"),
        ({"length": 4}, "do not fit its shape|not a valid model"),
    ],
)
def test_data_that_are_elsewhere_or_not_all_there_are_refused(entries, message, tmp_path):
    (tmp_path / "d").mkdir()
    path = external(tmp_path / "d" / "m.onnx", **entries)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "d" / "weights.bin").read_bytes())
    (tmp_path / "d" / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ExportError, match=message):
        adopt(path, tmp_path / "b", rows_of())


def test_truncated_data_are_refused(tmp_path):
    path = external(tmp_path / "m.onnx")
    data = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(data[:-8])
    with pytest.raises(ExportError, match="the file was truncated, fetch it again"):
        adopt(path, tmp_path / "b", rows_of())
