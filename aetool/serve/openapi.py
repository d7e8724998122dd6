"""The OpenAPI document of a server: requests to the models that it serves now, and responses."""

from typing import Any

import aetool
from aetool.serve.models import Catalogue
from aetool.serve.protocol import DATATYPES, Signature

_REFUSALS = {
    "400": "The request cannot be understood, or does not fit the model.",
    "404": "No such model or version.",
    "408": "The request did not come in time.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "503": "Too busy, or stopping; Retry-After says when to come again.",
}


def document(catalogue: Catalogue, *, locked: bool) -> dict[str, Any]:
    """Return the document in OpenAPI 3.1."""
    paths: dict[str, Any] = {
        "/v2/health/live": {"get": _get("Whether the server runs", "Live", {}, security=False)},
        "/v2/health/ready": {"get": _get("Whether it wants requests", "Ready", _only("503"), security=False)},
        "/v2": {"get": _get("What the server is", "Server", {})},
        "/metrics": {"get": {"summary": "Figures for Prometheus", "responses": {"200": _text()}}},
        "/openapi.json": {"get": _get("This document", "Document", {})},
        "/v2/models/{model}": {"get": _get("What a model takes and gives", "Metadata", _only("404"))},
        "/v2/models/{model}/ready": {"get": _get("Whether a model is ready", "ModelReady", _only("404"))},
    }
    names = catalogue.names()
    for path in [path for path in paths if "{model}" in path]:
        paths[path]["parameters"] = [_parameter("model", names)]
        versions = sorted({version for _, version in catalogue.models if version is not None})
        versioned = path.replace("{model}", "{model}/versions/{version}")
        paths[versioned] = {
            **paths[path],
            "parameters": [_parameter("model", names), _parameter("version", versions)],
        }
    requests: dict[str, Any] = {}
    for name in names:
        model = catalogue.models[name, None]
        requests[f"Request-{name}"] = _request(model.signature)
        requests[f"Response-{name}"] = _response(name, model.signature)
        for path in (f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/{model.version}/infer"):
            paths[path] = {"post": _infer(name)}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "aetool", "version": aetool.__version__, "description": "Open Inference Protocol v2"},
        "paths": paths,
        "components": {"schemas": {**_SCHEMAS, **requests}},
    }
    if locked:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        for operations in paths.values():
            for operation in (operations[method] for method in ("get", "post") if method in operations):
                if "security" not in operation:
                    operation["responses"]["401"] = _refusal("The bearer token is missing or wrong.")
    return made


def _get(summary: str, schema: str, refusals: dict[str, Any], *, security: bool = True) -> dict[str, Any]:
    made = {"summary": summary, "responses": {"200": _content("As asked", schema), **refusals}}
    return made if security else {**made, "security": []}


def _infer(name: str) -> dict[str, Any]:
    binary = {"description": "JSON, Inference-Header-Content-Length bytes of it, then the tensors' bytes"}
    answered = _content("The outputs that were asked for, or all", f"Response-{name}")
    answered["content"]["application/octet-stream"] = {"schema": binary}
    return {
        "summary": f"Compute with {name}",
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "Bytes of JSON, where a tensor's bytes follow.",
                "schema": {"type": "integer", "minimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/Request-{name}"}}},
        },
        "responses": {"200": answered, **{status: _refusal(why) for status, why in _REFUSALS.items()}},
    }


def _request(signature: Signature) -> dict[str, Any]:
    tensor = signature.input
    output = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"enum": list(signature.output_names)},
            "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
        },
    }
    features = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": _shape([{"type": "integer", "minimum": 1}, *({"const": size} for size in tensor.row_shape)]),
            "data": {
                "type": "array",
                "description": "Row by row, flat or nested as the shape says; null is a missing value.",
            },
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": features},
            "outputs": {"type": "array", "items": output, "description": "Left out or empty: all."},
        },
        "example": {
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": [1, *tensor.row_shape],
                    "data": [0.0] * _numbers(tensor.row_shape),
                }
            ]
        },
    }


def _response(name: str, signature: Signature) -> dict[str, Any]:
    outputs = [
        {
            "type": "object",
            "required": ["name", "datatype", "shape"],
            "properties": {
                "name": {"const": tensor.name},
                "datatype": {"const": tensor.datatype},
                "shape": _shape(
                    [{"type": "integer", "minimum": 1}, *({"const": size} for size in tensor.row_shape)]
                ),
                "data": {
                    "type": "array",
                    "description": "Flat, row by row; null where a number is NaN or infinite.",
                    "items": {"type": "boolean" if tensor.datatype == "BOOL" else ["number", "null"]},
                },
                "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
            },
        }
        for tensor in signature.outputs
    ]
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": name},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "minItems": 1, "items": {"oneOf": outputs}},
        },
    }


def _numbers(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _shape(items: list[Any]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def _parameter(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"enum": values}}


def _only(status: str) -> dict[str, Any]:
    return {status: _refusal(_REFUSALS[status])}


def _refusal(description: str) -> dict[str, Any]:
    return _content(description, "Error")


def _content(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _text() -> dict[str, Any]:
    return {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_STRING: dict[str, Any] = {"type": "string"}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING}
_TENSORS = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        name=_STRING,
        datatype={"enum": sorted(set(DATATYPES.values()))},
        shape={"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": -1}},
    ),
}
_SCHEMAS = {
    "Error": _object(error=_STRING),
    "Live": _object(live={"type": "boolean"}),
    "Ready": _object(ready={"type": "boolean"}),
    "ModelReady": _object(name=_STRING, ready={"type": "boolean"}),
    "Server": _object(name=_STRING, version=_STRING, extensions=_STRINGS, models=_STRINGS),
    "Metadata": _object(
        name=_STRING,
        versions=_STRINGS,
        platform=_STRING,
        inputs=_TENSORS,
        outputs=_TENSORS,
        parameters={"type": "object"},
    ),
    "Document": {"type": "object"},
}
