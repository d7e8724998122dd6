"""An ONNX file that cannot be trusted is refused with cause and remedy; a hostile one leads nowhere."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import WEIGHTS, WIDTH, batch_norm, before_layers, external, info, layers, model_of, plain, rows_of

from aetool.errors import AetoolError, ExportError, InputError
from aetool.export import AdoptOptions, ExportOptions, adopt


def with_weight(value, name="w1", at=0):
    changed = WEIGHTS[name].copy()
    changed.flat[at] = value
    return plain_with({name: changed})


def plain_with(weights):
    return model_of(layers(), [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], {**WEIGHTS, **weights})


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
    "classifier": (classifier, r"found p \(rows, 3\): it is half an autoencoder, the encoder, or none at all"),
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
    "batch of 4": (
        lambda: plain(4),
        r"x: a dynamic batch, or a batch of 1, .* found shape \[4, 6\]; export the model",
    ),
    "rows that meet": (mixing, "changes the scores of its neighbours; make each row"),
    "threshold NaN": (
        lambda: plain(threshold="nan"),
        "threshold = 'nan' is not a finite number; pass --threshold",
    ),
    "threshold in words": (
        lambda: plain(threshold="high"),
        "threshold = 'high' is not a finite number; pass --threshold",
    ),
    "threshold negative": (lambda: plain(threshold=-1.0), "threshold: expected 0, or a number"),
    "mean NaN": (
        lambda: plain(mean="[NaN]", scale="[1]"),
        r"mean must be finite numbers, found '\[nan\]'; pass --mean",
    ),
    "mean in words": (lambda: plain(mean="a,1", scale="[1]"), "mean must be finite numbers, found 'a,1'; pass"),
    "mean of texts": (lambda: plain(mean='["1"]', scale="[1]"), "mean must be finite numbers"),
    "mean alone": (lambda: plain(mean="[1]"), "mean and scale are expected together, found mean alone; give both"),
    "scale infinite": (lambda: plain(mean="[1]", scale="[Infinity]"), "scale must be finite numbers"),
    "scale 0": (
        lambda: plain(mean="[1]", scale="[1, 1, 1, 0, 1, 1]"),
        "scale must be above 0, found 0.*give 1 for",
    ),
    "scale for other columns": (lambda: plain(mean="[1]", scale="[1, 1]"), "found 2; correct --scale"),
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


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"mean": [np.nan], "scale": [1]}, "mean must be finite"),
        ({"mean": [0], "scale": ["1"]}, "scale must be finite"),
        ({"mean": [0], "scale": [True]}, "scale must be finite"),
        ({"mean": [0], "scale": [0.0]}, "scale must be above 0"),
        ({"mean": [0], "scale": [-1.0]}, "scale must be above 0"),
        ({"mean": [], "scale": []}, "mean must be finite"),
        ({"mean": [0] * 5, "scale": [1] * 5}, "found 5; correct --mean"),
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
