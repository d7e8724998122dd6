"""A threshold of the request's own."""

import numpy as np
import pytest


def data_of(answer):
    status, _, document = answer
    assert status == 200, document
    return {output["name"]: output["data"] for output in document["outputs"]}


@pytest.mark.parametrize("threshold", [0, 0.05, 0.3, 1e39])
def test_a_request_decides_by_its_own_threshold(server, model, rows, infer_body, threshold):
    body = infer_body(rows, parameters={"threshold": threshold}, outputs=[{"name": "is_anomaly"}])
    found = data_of(server.call("POST", "/v2/models/cancer/infer", body))
    with np.errstate(over="ignore"):
        assert found == {"is_anomaly": (~(model.score(rows) <= np.float32(threshold))).tolist()}


def test_other_requests_keep_the_threshold_of_the_bundle(server, model, rows, infer_body):
    server.call("POST", "/v2/models/cancer.detector/infer", infer_body(rows, parameters={"threshold": 0}))
    found = data_of(server.call("POST", "/v2/models/cancer.detector/infer", infer_body(rows)))
    assert found["is_anomaly"] == model.detect(rows).tolist()


@pytest.mark.parametrize("threshold", ["0.5", True, [0.5]])
def test_a_threshold_that_is_no_number_is_refused(server, rows, infer_body, threshold):
    body = infer_body(rows[:1], parameters={"threshold": threshold})
    status, _, document = server.call("POST", "/v2/models/cancer/infer", body)
    assert status == 400 and "body.parameters.threshold: expected a number" in document["error"]


def test_a_threshold_for_a_model_that_decides_nothing_is_refused(server, rows, infer_body):
    body = infer_body(rows[:1], parameters={"threshold": 0.5})
    status, _, document = server.call("POST", "/v2/models/cancer.encoder/infer", body)
    assert status == 400 and "gives no is_anomaly" in document["error"]


def test_p_values_come_to_those_who_ask_for_them(server, model, rows, infer_body):
    asked = [{"name": name} for name in ("p_value", "score")]
    for name in ("cancer", "cancer.detector"):
        found = data_of(server.call("POST", f"/v2/models/{name}/infer", infer_body(rows, outputs=asked)))
        assert list(found) == ["p_value", "score"]
        # Another engine may round the score of a calibration row down or up: one of the 44 counts, or not.
        np.testing.assert_allclose(found["p_value"], model.p_value(rows), rtol=1e-3, atol=1.01 / 45)
    assert "p_value" not in data_of(server.call("POST", "/v2/models/cancer/infer", infer_body(rows)))
    status, _, document = server.call("POST", "/v2/models/cancer.encoder/infer", infer_body(rows, outputs=asked))
    assert status == 400 and "one of embedding" in document["error"]
