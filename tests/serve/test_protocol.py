"""The Open Inference Protocol, as its clients speak it."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import aetool


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.authority) as made:
        yield made


def features(rows, *, binary, name="features"):
    made = triton.InferInput(name, list(rows.shape), "FP32")
    made.set_data_from_numpy(rows, binary_data=binary)
    return [made]


def test_the_server_is_live_and_ready_and_says_what_it_is(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("cancer")
    about = client.get_server_metadata()
    assert about["name"] == "aetool" and about["version"] == aetool.__version__
    assert about["extensions"] == ["binary_tensor_data"]
    assert about["models"] == [
        "cancer",
        *(f"cancer.{graph}" for graph in ("encoder", "decoder", "autoencoder", "detector", "explainer")),
    ]


def test_the_metadata_tell_names_types_and_shapes(client, model):
    found = client.get_model_metadata("cancer")
    assert found["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 30]}]
    assert {output["name"]: (output["datatype"], output["shape"]) for output in found["outputs"]} == {
        "score": ("FP32", [-1]),
        "is_anomaly": ("BOOL", [-1]),
        "embedding": ("FP32", [-1, 120]),
        "reconstruction": ("FP32", [-1, 30]),
        "p_value": ("FP32", [-1]),
    }
    assert found["parameters"]["threshold"] == model.threshold
    assert client.get_model_metadata("cancer.decoder")["inputs"][0]["name"] == "embedding"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("count", [1, 7, 200])
def test_every_output_is_what_the_model_computes(client, model, rows, binary, asked, count):
    given = np.resize(rows, (count, 30))
    names = ("reconstruction", "is_anomaly", "score", "embedding")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names] if asked else None
    answer = client.infer("cancer", features(given, binary=binary), outputs=outputs, request_id="7")
    assert answer.get_response()["id"] == "7" and answer.get_response()["model_name"] == "cancer"
    expected = {**model.run("detector", given), **model.run("autoencoder", given)}
    for name in names:
        found = answer.as_numpy(name)
        assert found.dtype == expected[name].dtype
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("graph", ["encoder", "autoencoder", "detector"])
def test_each_graph_is_a_model_of_its_own(client, model, rows, graph):
    answer = client.infer(f"cancer.{graph}", features(rows, binary=True))
    expected = model.run(graph, rows)
    assert {output["name"] for output in answer.get_response()["outputs"]} == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(answer.as_numpy(name), values, rtol=1e-5, atol=1e-5)


def test_the_decoder_takes_embeddings(client, model, rows):
    answer = client.infer("cancer.decoder", features(model.encode(rows), binary=True, name="embedding"))
    np.testing.assert_allclose(answer.as_numpy("reconstruction"), model.reconstruct(rows), rtol=1e-5, atol=1e-5)


def test_bytes_in_and_json_out_may_be_mixed(client, model, rows):
    outputs = [
        triton.InferRequestedOutput("embedding", binary_data=True),
        triton.InferRequestedOutput("score", binary_data=False),
    ]
    answer = client.infer("cancer", features(rows[:3], binary=True), outputs=outputs)
    np.testing.assert_allclose(answer.as_numpy("score"), model.score(rows[:3]), rtol=1e-5)
    np.testing.assert_allclose(answer.as_numpy("embedding"), model.encode(rows[:3]), rtol=1e-5, atol=1e-5)


def test_the_version_is_the_bundle_and_may_be_asked_for(client, model, rows):
    (version,) = client.get_model_metadata("cancer")["versions"]
    assert model.manifest.id.startswith(version)
    answer = client.infer("cancer", features(rows[:1], binary=True), model_version=version)
    assert answer.get_response()["model_version"] == version
    with pytest.raises(InferenceServerException, match="not served"):
        client.infer("cancer", features(rows[:1], binary=True), model_version="1")
    assert not client.is_model_ready("cancer", "1")


def test_nested_lists_are_rows_too(server, model, rows, infer_body):
    body = infer_body(rows[:2])
    body["inputs"][0]["data"] = rows[:2].tolist()
    status, _, found = server.call("POST", "/v2/models/cancer.detector/infer", body)
    assert status == 200
    np.testing.assert_allclose(found["outputs"][0]["data"], model.score(rows[:2]), rtol=1e-5)


def test_a_missing_value_is_null_and_never_normal(server, rows, infer_body):
    body = infer_body(rows[:1])
    body["inputs"][0]["data"][4] = None
    status, _, found = server.call("POST", "/v2/models/cancer.detector/infer", body)
    outputs = {output["name"]: output["data"] for output in found["outputs"]}
    assert status == 200 and outputs == {"score": [None], "is_anomaly": [True]}
