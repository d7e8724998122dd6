"""`aetool adopt`: other people's ONNX files."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATA = ("--label", "broken", "--drop", "id")


def document_of(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def gemm_autoencoder(path, *, random=False, metadata=None, data=None):
    """4 -> 2 -> 4 as an ONNX file, batch of 1."""
    seed = np.random.default_rng(5)
    weights = [("a", (4, 2)), ("b", (2, 4))]
    tensors = [numpy_helper.from_array(seed.normal(size=s).astype(np.float32), n) for n, s in weights]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["z"]), helper.make_node("MatMul", ["z", "b"], ["y"])]
    if random:
        nodes[1] = helper.make_node("MatMul", ["noisy", "b"], ["y"])
        nodes.insert(1, helper.make_node("RandomNormalLike", ["z"], ["noisy"], name="noise"))
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, w]) for n, w in (("x", 4), ("y", 4), ("z", 2))
    ]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path, save_as_external_data=data is not None, location=data, size_threshold=0)
    return [numpy_helper.to_array(tensor) for tensor in tensors]


def test_adopting_a_file_scores_as_the_file_itself(aetool, made, work):
    from aetool import tables

    a, b = gemm_autoencoder("m.onnx", data="m.bin")
    document = document_of(aetool("adopt", "m.onnx", "--data", made / "new.csv", *DATA, "--json"))
    assert document["bundle"] == "exported/m" and document["threshold"]["rows"] == 30
    assert document["embedding_shape"] == [2]
    rows = tables.read_table(made / "new.csv", drop=["id", "broken"]).values.astype(np.float32)
    expected = ((rows - rows @ a @ b).astype(np.float64) ** 2).mean(axis=1)
    scored = document_of(aetool("score", "exported/m", made / "new.csv", "--json"))["data"]["score"]
    np.testing.assert_allclose(scored, expected, rtol=1e-6)
    assert "m.onnx" in aetool("info", "exported/m", "--all").stdout
    assert aetool("verify", "exported/m").exit_code == 0


def test_adopt_takes_a_scaling_as_lists_or_files(aetool, made, work):
    gemm_autoencoder("m.onnx")
    (work / "scaler.json").write_text(json.dumps({"mean": [0.5, -1, 2, 0], "scale": [1, 2, 3, 4]}))
    (work / "scale.json").write_text("[1, 2, 3, 4]")
    common = (
        "--data",
        made / "new.csv",
        *DATA,
        "--threshold",
        "0.25",
        "--score",
        "mae",
        "--opset",
        "16",
        "--json",
    )
    ways = {
        "lists": ("--mean", "0.5,-1,2,0", "--scale", "1,2,3,4"),
        "object": ("--mean", "scaler.json", "--scale", "scaler.json"),
        "mixed": ("--mean", "0.5,-1,2,0", "--scale", "scale.json"),
    }
    scores = []
    for name, scaling in ways.items():
        assert aetool("adopt", "m.onnx", *scaling, *common, "-o", name).exit_code == 0
        scores.append(document_of(aetool("score", name, made / "new.csv", "--json"))["data"]["score"])
    assert scores[0] == scores[1] == scores[2]
    told = document_of(aetool("info", "lists", "--json"))
    assert (told["threshold"]["value"], told["score"]["kind"], told["opset"]) == (0.25, "mae", 16)


def test_what_cannot_be_adopted_is_one_line_and_writes_nothing(aetool, fails, made, work):
    data = ("--data", made / "new.csv", *DATA, "-o", "b")
    gemm_autoencoder("m.onnx")
    gemm_autoencoder("random.onnx", random=True)
    gemm_autoencoder("nan.onnx", metadata={"threshold": "nan"})
    (work / "text.onnx").write_text("hello")
    assert "noise" in fails("adopt", "random.onnx", *data)
    assert "pass --threshold" in fails("adopt", "nan.onnx", *data)
    assert "text.onnx" in fails("adopt", "text.onnx", *data)
    assert "nowhere.onnx" in fails("adopt", "nowhere.onnx", *data)
    assert "together" in fails("adopt", "m.onnx", "--mean", "1,2,3,4", *data)
    assert "scale must be above 0" in fails("adopt", "m.onnx", "--mean", "1,2,3,4", "--scale", "0,1,1,1", *data)
    for wrong in (("--mean", "1,two"), ("--scale", "nowhere.json"), ("--score", "mean"), ("--threshold", "low")):
        result = aetool("adopt", "m.onnx", *wrong, *data)
        assert result.exit_code == 2 and wrong[0] in result.stderr and result.stdout == ""
    assert aetool("adopt", "m.onnx", "-o", "b").exit_code == 2
    assert not (work / "b").exists()
