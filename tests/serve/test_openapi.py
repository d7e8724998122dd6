"""The OpenAPI document is served and true: answers fit it, and what fits it is answered."""

import contextlib

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    status_code_conformance,
)

QUICK = settings(
    max_examples=45,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def document(server):
    status, _, found = server.call("GET", "/openapi.json")
    assert status == 200
    return found


@pytest.fixture
def fits(document):
    """fits(name, instance): whether it fits one of the document's schemas."""

    def check(name, instance):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        return jsonschema.Draft202012Validator(schema).is_valid(instance)

    return check


@pytest.fixture
def api(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_the_document_is_openapi(document):
    assert document["openapi"].startswith("3.1") and "/v2/models/{model}/infer" in document["paths"]
    jsonschema.Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})


def test_requests_and_answers_fit_it(server, fits, rows, infer_body):
    for model in ("cancer", "cancer.encoder", "cancer.autoencoder", "cancer.detector"):
        body = infer_body(rows[:3], id="a")
        status, _, answer = server.call("POST", f"/v2/models/{model}/infer", body)
        assert status == 200 and fits("Request", body) and fits("Response", answer)
    for path, schema in (
        ("/v2", "Server"),
        ("/v2/health/live", "Live"),
        ("/v2/health/ready", "Ready"),
        ("/v2/models/cancer", "Metadata"),
        ("/v2/models/cancer.decoder/ready", "ModelReady"),
        ("/v2/models/nobody", "Error"),
    ):
        assert fits(schema, server.call("GET", path)[2]), path


def test_it_refuses_what_the_server_refuses(server, fits, rows, infer_body):
    good = infer_body(rows[:1])
    wrong = [
        {},
        {"inputs": []},
        {"inputs": good["inputs"] * 2},
        {"inputs": [{**good["inputs"][0], "datatype": "FP64"}]},
        {**good, "id": 3},
    ]
    of_this_model = [
        {"inputs": [{**good["inputs"][0], "shape": [1, 29]}]},
        {**good, "outputs": [{"name": "nothing"}]},
    ]
    for body in wrong + of_this_model:
        assert not fits("Request", body) or body in of_this_model
        assert server.call("POST", "/v2/models/cancer/infer", body)[0] == 400


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_schemathesis_makes_of_the_document_gets_a_documented_answer_and_no_5xx(api, document, mode):
    """Requests that fit the document, and such that do not."""
    statuses = []
    for found in api.get_all_operations():
        operation = found.ok()

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            answer = case.call()
            case.validate_response(answer, checks=CHECKS)
            # schemathesis's own check of answers now and then takes another schema's validator, by the id of
            # an object that is gone.
            responses = document["paths"][case.operation.path][case.operation.method]["responses"]
            documented = responses[str(answer.status_code)].get("content", {}).get("application/json")
            if documented is not None and answer.content:
                schema = {**documented["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(answer.json())
            statuses.append(answer.status_code)

        with contextlib.suppress(Unsatisfiable):  # nothing to get wrong, such as a request without parameters
            check()
    assert len(statuses) > 100 and max(statuses) < 500
    assert (200 in statuses) if mode is GenerationMode.POSITIVE else (400 in statuses)
