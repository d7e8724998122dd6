"""The OpenAPI document of a server: its routes, and what their requests and responses look like for any model."""

from typing import Any

import aetool
from aetool.serve._protocol import DATATYPES
from aetool.serve.models import Catalogue

Schema = dict[str, Any]


def document(catalogue: Catalogue) -> Schema:
    """Return the document in OpenAPI 3.1; of the models that are served now it has the names only."""
    versions = sorted({version for _, version in catalogue.models if version is not None})
    model, version = _parameter("model", catalogue.names()), _parameter("version", versions)
    paths: Schema = {
        "/v2/health/live": {"get": _get("Check that the server runs", "Live") | {"security": []}},
        "/v2/health/ready": {
            "get": _get("Check that the server accepts requests", "Ready", "503") | {"security": []}
        },
        "/v2": {"get": _get("What the server is", "Server")},
        "/metrics": {
            "get": {"summary": "Metrics for Prometheus", "responses": {"200": _METRICS, **_refused("401")}}
        },
        "/openapi.json": {"get": _get("This document", "Document")},
    }
    for path, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        paths[path] = {
            "parameters": parameters,
            "get": _get("Describe the inputs and outputs of a model", "Metadata", "404"),
        }
        ready = _get("Check that a model is ready", "ModelReady", "404")
        paths[f"{path}/ready"] = {"parameters": parameters, "get": ready}
        paths[f"{path}/infer"] = {"parameters": parameters, "post": _INFER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "aetool", "version": aetool.__version__, "description": "Open Inference Protocol v2"},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _SCHEMAS,
        },
    }


def _parameter(name: str, values: list[str]) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"enum": values}}


def _get(summary: str, schema: str, *refusals: str) -> Schema:
    return {"summary": summary, "responses": {"200": _content("As asked", schema), **_refused("401", *refusals)}}


def _refused(*statuses: str) -> Schema:
    return {status: _content(_REFUSALS[status], "Error") for status in statuses}


def _content(description: str, schema: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _object(required: Schema, **optional: Any) -> Schema:
    return {"type": "object", "required": list(required), "properties": required | optional}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


_REFUSALS = {
    "400": "The request cannot be understood, or does not fit the model.",
    "401": "The bearer token is missing or wrong.",
    "404": "No such model or version.",
    "408": "The request timed out.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "503": "Too busy, or stopping; Retry-After says when to try again.",
}
_BINARY = {"description": "JSON, Inference-Header-Content-Length bytes of it, then the tensors' bytes"}
_METRICS = {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
_ANSWERED = _content("The requested outputs, or all", "Response")
_ANSWERED["content"]["application/octet-stream"] = {"schema": _BINARY}
_INFER = {
    "summary": "Compute with a model; its metadata lists the shapes",
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "Bytes of JSON, where a tensor's bytes follow.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {**_content("A tensor of rows", "Request"), "required": True},
    "responses": {"200": _ANSWERED, **_refused(*_REFUSALS)},
}
_STRING: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_OBJECT: Schema = {"type": "object"}
_DATATYPE = {"enum": sorted(set(DATATYPES.values()))}
_SHAPE = _list({"type": "integer", "minimum": 1}, minItems=1)
_TENSORS = _list(
    _object(
        {"name": _STRING, "datatype": _DATATYPE, "shape": _list({"type": "integer", "minimum": -1}, minItems=1)}
    ),
    minItems=1,
)
_ROWS = _object(
    {
        "name": {"enum": ["features", "embedding"]},
        "datatype": {"const": "FP32"},
        "shape": _SHAPE,
        "data": {
            "type": "array",
            "description": "Row by row, flat or nested as the shape says; null is a missing value.",
        },
    }
)
_OUTPUT = _object(
    {"name": _STRING, "datatype": _DATATYPE, "shape": _SHAPE},
    data=_list({"type": ["number", "boolean", "null"]})
    | {"description": "Flat, row by row; null where a number is NaN or infinite."},
    parameters=_object({}, binary_data_size={"type": "integer"}),
)
_SCHEMAS = {
    "Error": _object({"error": _STRING}),
    "Live": _object({"live": _BOOLEAN}),
    "Ready": _object({"ready": _BOOLEAN}),
    "ModelReady": _object({"name": _STRING, "ready": _BOOLEAN}),
    "Server": _object(
        {"name": _STRING, "version": _STRING, "extensions": _list(_STRING), "models": _list(_STRING)}
    ),
    "Metadata": _object(
        {
            "name": _STRING,
            "versions": _list(_STRING),
            "platform": _STRING,
            "inputs": _TENSORS,
            "outputs": _TENSORS,
            "parameters": _OBJECT,
        }
    ),
    "Request": _object(
        {"inputs": _list(_ROWS, minItems=1, maxItems=1)},
        id={"type": ["string", "null"]},
        parameters=_object(
            {},
            binary_data_output=_BOOLEAN,
            threshold={
                "type": "number",
                "description": "Highest score that counts as normal in is_anomaly; the model's by default.",
            },
        ),
        outputs=_list(_object({"name": _STRING}, parameters=_object({}, binary_data=_BOOLEAN)))
        | {"description": "Left out or empty: all."},
    ),
    "Response": _object(
        {"model_name": _STRING, "model_version": _STRING, "outputs": _list(_OUTPUT, minItems=1)}, id=_STRING
    ),
    "Document": _OBJECT,
}
