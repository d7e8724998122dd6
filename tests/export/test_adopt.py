"""An ONNX file becomes a bundle that scores as the file does, one row at a time."""

import json

import numpy as np
import onnx
import peoples_modules as modules
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import (
    RNG,
    WEIGHTS,
    WIDTH,
    assert_same,
    batch_norm,
    external,
    info,
    layers,
    model_of,
    one_by_one,
    plain,
    rows_of,
)

import aetool
from aetool.checks import verify
from aetool.export import AdoptOptions, ExportOptions, adopt


@pytest.fixture
def adopted(tmp_path):
    """adopted(model, rows): save, adopt, check against itself, open."""

    def apply(model, rows=None, reading=None, options=None, **more):
        if isinstance(model, onnx.ModelProto):
            onnx.save(model, tmp_path / "m.onnx")
            model = tmp_path / "m.onnx"
        rows = rows_of() if rows is None else rows
        adopt(model, tmp_path / "b", rows, reading=reading, options=options, **more)
        assert all(record.passed for record in verify.verify_bundle(tmp_path / "b"))
        return aetool.load(tmp_path / "b")

    return apply


@pytest.mark.parametrize("batch", ["n", None, 1])
def test_a_free_batch_or_one_of_1_scores_as_the_file_row_by_row(batch, adopted):
    bundle = adopted(plain(batch))
    assert bundle.graphs == ("encoder", "decoder", "autoencoder", "detector", "explainer")
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


def test_batch_norm_that_does_not_train_is_taken(adopted):
    assert_same(batch_norm(), adopted(batch_norm()), rows_of())


def test_a_link_to_a_model_is_followed(adopted, tmp_path):
    onnx.save(plain(), tmp_path / "blob")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "blob")
    assert_same(plain(), adopted(tmp_path / "model.onnx"), rows_of())


def test_data_beside_the_file_are_taken_inside(adopted, tmp_path):
    path = external(tmp_path / "m.onnx")
    bundle = adopted(path)
    (tmp_path / "weights.bin").unlink()
    assert_same(plain(), bundle, rows_of())
