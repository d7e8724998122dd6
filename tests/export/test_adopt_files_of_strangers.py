"""Files as other exporters, quantizers and converters leave them are adopted, or refused in true words."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import RNG, WEIGHTS, WIDTH, assert_same, info, layers, model_of, one_by_one, plain, rows_of

import aetool
from aetool.checks import verify
from aetool.checks.first_run import crash_of
from aetool.errors import ExportError, VerificationError
from aetool.export import AdoptOptions, ExportOptions, adopt
from aetool.export import verify as verification


@pytest.fixture
def adopted(tmp_path):
    """adopted(model, rows, reading): what adopt gives, and the bundle, opened."""

    def apply(model, rows=None, reading=None, options=None):
        onnx.save(model, tmp_path / "m.onnx")
        exported = adopt(
            tmp_path / "m.onnx",
            tmp_path / "b",
            rows_of() if rows is None else rows,
            reading=reading,
            options=options,
        )
        return exported, aetool.load(tmp_path / "b")

    return apply


# Nodes and versions


def shuffled(seed):
    model = plain()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in np.random.default_rng(seed).permutation(len(nodes)))
    return model


@pytest.mark.parametrize("seed", range(4))
def test_nodes_in_any_order_are_sorted(seed, adopted):
    assert_same(plain(), adopted(shuffled(seed))[1], rows_of(), z="z")


def test_nodes_that_an_inner_graph_reads_come_before_it(adopted):
    yes = helper.make_graph([helper.make_node("Identity", ["y"], ["yes"])], "yes", [], [info("yes", None)])
    no = helper.make_graph([helper.make_node("Neg", ["y"], ["no"])], "no", [], [info("no", None)])
    branch = helper.make_node("If", ["always"], ["out"], then_branch=yes, else_branch=no)
    weights = {**WEIGHTS, "always": np.array(True)}
    outputs = [info("out", ["n", WIDTH])]
    model = model_of([branch, *layers()], [info("x", ["n", WIDTH])], outputs, weights)
    assert_same(plain(), adopted(model)[1], rows_of())


def test_nodes_that_are_made_of_themselves_are_refused(adopted):
    nodes = [*layers(x="loop", y="y"), helper.make_node("Add", ["x", "y"], ["loop"])]
    with pytest.raises(ExportError, match="not a valid model"):
        adopted(model_of(nodes, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])]))


def keras_like(opset, ir):
    """Products and sums apart, batch norm and dropout as old exporters write them; weights are no inputs."""
    values = {name: np.full(3, 0.5, np.float32) for name in ("scale", "shift", "mean", "variance")}
    ratio = {"ratio": 0.5} if opset < 12 else {}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["b"]),
        helper.make_node("BatchNormalization", ["b", *values], ["c"], epsilon=1e-3),
        helper.make_node("Dropout", ["c"], ["d"], **ratio),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w2"], ["f"]),
        helper.make_node("Add", ["f", "b2"], ["y"]),
    ]
    inputs, outputs = [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])]
    return model_of(nodes, inputs, outputs, {**WEIGHTS, **values}, opset=opset, ir=ir)


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (8, 3), (9, 4), (10, 5), (12, 7), (14, 7), (18, 8), (21, 10)])
def test_old_and_new_operators_are_taken(opset, ir, adopted):
    model = keras_like(opset, ir)
    bundle = adopted(model)[1]
    model.ir_version = max(ir, 4)  # without which onnxruntime takes no weights that are no inputs
    assert_same(model, bundle, rows_of())


def test_shapes_that_a_converter_left_behind_are_forgotten(adopted):
    model = plain()
    model.graph.value_info.append(info("before", ["n", 77], TensorProto.FLOAT16))
    assert_same(plain(), adopted(model)[1], rows_of(), z="z")


# Outputs of another shape


def ending(shape, row=(2, 3), out=("n", WIDTH), perm=None):
    """A graph whose output is reshaped, or has its axes in another order."""
    weights = {**WEIGHTS, "flat": np.array([-1, WIDTH]), "shape": np.array(shape)}
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["rows"]), *layers(x="rows", y="made")]
    nodes.append(helper.make_node("Reshape", ["made", "shape"], ["ended" if perm else "y"]))
    if perm:
        nodes.append(helper.make_node("Transpose", ["ended"], ["y"], perm=perm))
    return model_of(nodes, [info("x", ["n", *row])], [info("y", out)], weights)


def told(exported):
    """The notes but those on the rows, which every export has."""
    return [note for note in exported.notes if not note.startswith("the threshold is to flag")]


def test_adopt_says_what_export_says_of_rows_and_embedding(adopted):
    wide = rows_of() * np.logspace(0, 3, WIDTH)
    exported, _ = adopted(plain(), wide.astype(np.float32))
    assert any("give normal rows that it has not seen" in note for note in exported.notes)
    assert any("large columns decide it" in note for note in exported.notes)


@pytest.mark.parametrize(
    ("shape", "row", "out"),
    [
        ([-1, 6], (2, 3), ("n", 6)),  # flat
        ([-1, 6], (1, 2, 3), ("n", 6)),
        ([-1, 1], (2, 3), ("m", 1)),  # a regressor: every number a row of its own
        ([-1, 1], (6,), ("m", 1)),
        ([-1], (6,), ("m",)),
        ([-1, 2, 3], (6,), ("n", 2, 3)),
        ([-1, 1, 2, 3], (2, 3), ("n", 1, 2, 3)),
    ],
)
def test_the_same_numbers_in_another_shape_are_reshaped_and_it_is_said(shape, row, out, adopted):
    exported, bundle = adopted(ending(shape, row, out), rows_of(*row))
    assert any("is reshaped to rows of shape" in note for note in exported.notes)
    rows = rows_of(*row)
    found = one_by_one(plain(), rows.reshape(-1, WIDTH))["y"].reshape(rows.shape)
    np.testing.assert_allclose(bundle.reconstruct(rows), found, rtol=1e-5, atol=1e-6)
    assert bundle.reconstruct(rows[:0]).shape == (0, *row)


def test_a_reconstruction_that_is_named_is_reshaped(adopted):
    exported, _ = adopted(ending([-1, 6], (2, 3)), rows_of(2, 3), AdoptOptions(("reconstruction",)))
    assert len(told(exported)) == 1


def test_axes_in_another_order_are_not_reshaped(adopted):
    model = ending([-1, 2, 3], (2, 3), ("n", 3, 2), perm=[0, 2, 1])
    with pytest.raises(ExportError, match=r"\(rows, 3, 2\) for rows of shape \(2, 3\).*another order.*transpose"):
        adopted(model, rows_of(2, 3))


@pytest.mark.parametrize(
    ("length", "remedy"), [(50, r"cut the output to \(3, 50\)"), (51, "cut"), (53, "pad the")]
)
def test_another_length_is_named_with_its_likely_reason(length, remedy, adopted):
    weights = {"down": RNG.normal(size=(4, 3, 4)).astype("f"), "up": RNG.normal(size=(4, 3, 4)).astype("f")}
    nodes = [
        helper.make_node("Conv", ["x", "down"], ["z"], strides=[4], pads=[1, 1]),
        helper.make_node("ConvTranspose", ["z", "up"], ["y"], strides=[4]),
    ]
    model = model_of(nodes, [info("x", ["n", 3, length])], [info("y", ["n", 3, "m"])], weights)
    size = one_by_one(model, rows_of(3, length)[:1])["y"].shape[2]
    with pytest.raises(ExportError, match=rf"\({size} for {length}\); {remedy}.*stride|strides.*{remedy}"):
        adopted(model, rows_of(3, length))


# Halves


def encoder(opset=18, ir=8, batch="n", name="z"):
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["before"]), helper.make_node("Tanh", ["before"], [name])]
    weights = {key: WEIGHTS[key] for key in ("w1", "b1")}
    return model_of(nodes, [info("x", [batch, WIDTH])], [info(name, [batch, 3])], weights, opset=opset, ir=ir)


def decoder(opset=18, ir=8, batch="n", weight="w2", taken="z"):
    nodes = [helper.make_node("Gemm", [taken, weight, "b1"], ["y"])]
    weights = {weight: WEIGHTS["w2"], "b1": WEIGHTS["b2"]}  # names that the encoder has too, of other weights
    return model_of(nodes, [info(taken, [batch, 3])], [info("y", [batch, WIDTH])], weights, opset=opset, ir=ir)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"weight": "w1", "taken": "x"}),  # names that the encoder has, too
        ({"name": "latent"}, {"taken": "input"}),
        ({"opset": 11, "ir": 6}, {"opset": 20, "ir": 9}),
        ({"batch": 1}, {"batch": 1}),
        ({}, {"batch": 1}),
    ],
)
def test_encoder_and_decoder_in_two_files_become_one(first, second, adopted, tmp_path):
    onnx.save(decoder(**second), tmp_path / "d.onnx")
    _, bundle = adopted(encoder(**first), reading=AdoptOptions(decoder=tmp_path / "d.onnx"))
    assert bundle.graphs == ("encoder", "decoder", "autoencoder", "detector", "explainer")
    assert_same(plain(), bundle, rows_of(), z="z")
    assert bundle.manifest.provenance["adopted"] == "m.onnx and d.onnx"


def test_half_an_autoencoder_is_named_with_the_way_to_give_both(adopted, tmp_path):
    with pytest.raises(
        ExportError, match=r"found z \(rows, 3\): it is half an autoencoder, the encoder.*--decoder"
    ):
        adopted(encoder())
    with pytest.raises(ExportError, match=r"takes rows of shape \(3,\) and gives \(6,\).*the decoder.*--decoder"):
        adopted(decoder())
    onnx.save(plain(), tmp_path / "d.onnx")
    with pytest.raises(ExportError, match=r"d.onnx: takes no output of .*m.onnx.*its own decoder"):
        adopted(encoder(), reading=AdoptOptions(decoder=tmp_path / "d.onnx"))


# Few bits


def test_a_file_quantized_dynamically_is_refused_with_the_way_to_quantize_it(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    onnx.save(plain(), tmp_path / "f.onnx")
    quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx")
    with pytest.raises(ExportError, match=r"quantized dynamically.*adopt the float32 file .* aetool quantize"):
        adopt(tmp_path / "q.onnx", tmp_path / "b", rows_of())


def test_a_file_in_float16_between_float32_ends_is_adopted(tmp_path):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(copy.deepcopy(plain()), keep_io_types=True)
    onnx.save(half, tmp_path / "h.onnx")
    adopt(tmp_path / "h.onnx", tmp_path / "b", rows_of())
    assert_same(tmp_path / "h.onnx", aetool.load(tmp_path / "b"), rows_of(), z="z")


def failing(graph, monkeypatch):
    """As where a graph of 8 bits rounds otherwise than the file does."""
    compare = verification.compare_graph

    def off(name, expected, actual, **more):
        if name == graph:
            actual = {key: value + 1 if value.dtype.kind == "f" else value for key, value in actual.items()}
        return compare(name, expected, actual, **more)

    monkeypatch.setattr(verification, "compare_graph", off)


@pytest.mark.parametrize("graph", ["explainer", "decoder"])
def test_a_graph_that_cannot_be_proven_is_left_out_and_it_is_said(graph, adopted, monkeypatch):
    failing(graph, monkeypatch)
    exported, bundle = adopted(plain())
    assert graph not in bundle.graphs and len(bundle.graphs) == 4
    (note,) = told(exported)
    assert f"without the {graph}: it does not agree (" in note
    assert list(bundle.manifest.variants["fp32"].figures["left_out"]) == [graph]
    assert all(record.passed for record in exported.parity)
    assert all(record.passed for record in verify.verify_bundle(exported.bundle.path))


def test_a_detector_that_cannot_be_proven_is_refused_and_of_few_bits_with_the_way(tmp_path, monkeypatch):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    failing("detector", monkeypatch)
    onnx.save(plain(), tmp_path / "f.onnx")
    onnx.save(convert_float_to_float16(plain(), keep_io_types=True), tmp_path / "h.onnx")
    with pytest.raises(VerificationError) as whole:
        adopt(tmp_path / "f.onnx", tmp_path / "b", rows_of())
    with pytest.raises(
        VerificationError, match="adopt the float32 file that it was made from, then aetool quantize"
    ):
        adopt(tmp_path / "h.onnx", tmp_path / "b", rows_of())
    assert "aetool quantize" not in str(whole.value)
    assert not (tmp_path / "b").exists()


# Metadata


@pytest.mark.parametrize(
    "key", ["threshold", "anomaly_threshold", "Threshold", "reconstructionThreshold", "cutoff"]
)
def test_a_threshold_is_read_under_its_usual_keys_and_it_is_said(key, adopted):
    exported, bundle = adopted(plain(**{key: 0.75}))
    assert bundle.threshold == 0.75 and told(exported) == ["the threshold in its metadata is used"]


@pytest.mark.parametrize(
    ("mean", "scale"), [("mean", "std"), ("scaler_mean", "scaler_scale"), ("Scaler.Mean", "Scaler.Std")]
)
@pytest.mark.parametrize("write", ["[{}]", "{}"])
def test_a_scaler_is_read_under_its_usual_keys(mean, scale, write, adopted):
    numbers = write.format(", ".join(["2.0"] * WIDTH))
    exported, bundle = adopted(plain(**{mean: numbers, scale: numbers}))
    z = (rows_of().astype(np.float64) - 2) / 2
    y = one_by_one(plain(), z.astype(np.float32))["y"]
    np.testing.assert_allclose(bundle.score(rows_of()), ((z - y) ** 2).mean(axis=1), rtol=1e-5)
    assert told(exported) == ["the scaling in its metadata is included"]


def test_minimum_and_maximum_scale_as_mean_and_scale_do(adopted):
    low, high = [-3.0] * WIDTH, [5.0] * WIDTH
    by_options = adopted(plain(), reading=AdoptOptions(minimum=low, maximum=high))[1].score(rows_of())
    again = ExportOptions(overwrite=True)
    by_metadata = adopted(plain(data_min=str(low), data_max=str(high)), options=again)[1].score(rows_of())
    by_mean = adopted(plain(), None, AdoptOptions(mean=[-3.0], scale=[8.0]), again)[1].score(rows_of())
    np.testing.assert_array_equal(by_options, by_metadata)
    np.testing.assert_array_equal(by_options, by_mean)


@pytest.mark.parametrize(("row", "axis"), [((2, 3, 4), 0), ((3, 4, 2), 2), ((5, 2), 1), ((2, 5), 0)])
def test_one_number_for_each_channel_scales_windows_and_images(row, axis, adopted):
    model = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], [info("x", ["n", *row])], [info("y", ["n", *row])], {}
    )
    mean, scale = np.array([1.0, 100.0]), np.array([2.0, 0.5])
    bundle = adopted(model, rows_of(*row), AdoptOptions(mean=list(mean), scale=list(scale)))[1]
    shape = [-1 if place == axis else 1 for place in range(len(row))]
    z = (rows_of(*row).astype(np.float64) - mean.reshape(shape)) / scale.reshape(shape)
    expected = (np.minimum(z, 0) ** 2).reshape(len(z), -1).mean(axis=1)
    np.testing.assert_allclose(bundle.score(rows_of(*row)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("reading", "row", "message"),
    [
        ({"mean": [1.0], "maximum": [1.0]}, (WIDTH,), "found mean and maximum alone; give both"),
        ({"minimum": [1.0]}, (WIDTH,), "found minimum alone; give both"),
        ({"minimum": [1.0], "maximum": [1.0]}, (WIDTH,), "maximum must be above minimum"),
        ({"mean": [1.0] * 3, "scale": [1.0] * 3}, (3, 5, 3), "each channel, the first or the last axis"),
    ],
)
def test_scalings_that_say_two_things_are_refused(reading, row, message, adopted):
    model = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], [info("x", ["n", *row])], [info("y", ["n", *row])], {}
    )
    with pytest.raises(ExportError, match=message):
        adopted(model, rows_of(*row), AdoptOptions(**reading))


def test_metadata_that_look_like_a_scaler_and_are_not_read_are_named(adopted):
    exported, _ = adopted(plain(normalisation="minmax", input_scale_shift="[1]", author="someone"))
    (note,) = told(exported)
    assert "'normalisation', 'input_scale_shift' in its metadata: not read; pass --threshold" in note


def test_two_thresholds_in_the_metadata_are_refused(adopted):
    with pytest.raises(ExportError, match="different values under threshold, cutoff; choose one with --threshold"):
        adopted(plain(threshold=1, cutoff=2))
    assert adopted(plain(threshold=1, cutoff=1))[1].threshold == 1


# Crashes and memory


@pytest.mark.apart
def test_a_file_that_crashes_onnxruntime_is_refused_by_name(tmp_path, monkeypatch):
    """The child is made to crash, as onnxruntime 1.31 does of itself on an LSTM in float16."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    (tmp_path / "crash.py").write_text(crash, encoding="utf-8")
    monkeypatch.setattr("aetool.checks.first_run._PROGRAM", tmp_path / "crash.py")
    onnx.save(plain(), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"m.onnx: onnxruntime crashed \(SIGSEGV\) on rows of shape \(7, 6\)"):
        adopt(tmp_path / "m.onnx", tmp_path / "b", rows_of())


def test_memory_that_is_refused_is_named_so():
    from aetool.runtime.ort import require_memory

    for text in ("std::bad_alloc", "bad allocation", "Failed to allocate memory for requested buffer of size 9"):
        with pytest.raises(MemoryError, match="7 rows need more memory than there is"):
            require_memory(RuntimeError(text), "7 rows")
    require_memory(RuntimeError("Invalid dimensions"), "7 rows")


def test_memory_that_the_proof_is_refused_is_not_blamed_on_the_model(adopted, monkeypatch):
    class Poor:
        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, names, feed):
            raise RuntimeError("bfc_arena.cc: Failed to allocate memory for requested buffer of size 9")

    opened = verification.open_session
    monkeypatch.setattr(verification, "open_session", lambda *a, **k: Poor(opened(*a, **k)))
    with pytest.raises(MemoryError, match=r"rows of shape \(6,\) need more memory than there is; give fewer"):
        adopted(plain())


def test_an_error_of_onnxruntime_that_is_expected_is_not_shown(adopted, capfd):
    """A batch that is said to be free, and is not: the first try fails."""
    weights = {**WEIGHTS, "one": np.array([1, WIDTH])}
    nodes = [*layers(y="flat"), helper.make_node("Reshape", ["flat", "one"], ["y"])]
    adopted(model_of(nodes, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], weights))
    assert capfd.readouterr() == ("", "")


def test_an_error_of_onnxruntime_that_ends_the_command_is_shown(adopted):
    with pytest.raises(ExportError, match="Got invalid dimensions for input: x"):
        adopted(plain(), rows_of(5))


def test_rows_larger_than_a_block_are_scored_like_others(adopted, monkeypatch):
    monkeypatch.setattr("aetool.export._export_input.BATCH_BYTES", 1000)
    assert_same(plain(), adopted(plain())[1], rows_of(), z="z")


@pytest.mark.apart
def test_a_first_run_in_a_child_process_leaves_errors_in_words_to_the_next(tmp_path):
    assert crash_of(plain().SerializeToString(), rows_of()[:7]) is None
    assert crash_of(plain().SerializeToString(), rows_of(5)) is None  # of another width: an error in words
    assert crash_of(b"no model", rows_of()) is None
    assert crash_of(plain().SerializeToString(), rows_of(), patience_s=0.01) == "timed out after 0.01 s"
