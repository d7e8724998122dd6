"""Everything but inference: health, metadata, metrics and the OpenAPI document."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import aetool
from aetool.serve._metrics import Metrics
from aetool.serve._openapi import document
from aetool.serve.models import Catalogue, ServedModel

EXTENSIONS = ("binary_tensor_data",)


def pages(
    catalogue: Catalogue, figures: Callable[[], Awaitable[bytes]], *, ready: Callable[[], bool]
) -> Starlette:
    """Return the application for everything but inference.

    Args:
        catalogue: the served models.
        figures: returns the content of /metrics.
        ready: returns whether the server takes requests.
    """

    def found(request: Request) -> ServedModel:
        name, version = request.path_params["model"], request.path_params.get("version")
        model = catalogue.models.get((name, version))
        if model is None:
            what = f"model {name[:80]!r}" + ("" if version is None else f", version {version[:80]!r},")
            raise HTTPException(404, f"{what} is not served here; /v2 and and its models' metadata list the rest")
        return model

    async def live(request: Request) -> Response:
        return _json({"live": True})

    async def server_ready(request: Request) -> Response:
        return _json({"ready": True}) if ready() else _json({"error": "the server is stopping"}, 503)

    async def model_ready(request: Request) -> Response:
        return _json({"name": found(request).name, "ready": True})

    async def server(request: Request) -> Response:
        about = {"name": "aetool", "version": aetool.__version__, "extensions": EXTENSIONS}
        return _json({**about, "models": catalogue.names()})

    async def metadata(request: Request) -> Response:
        model = found(request)
        return _json(
            {
                "name": model.name,
                "versions": catalogue.versions(model.name),
                "platform": "onnxruntime_onnx",
                "inputs": [model.signature.input.metadata],
                "outputs": [tensor.metadata for tensor in (*model.signature.outputs, *model.signature.on_request)],
                "parameters": {"version": model.version, **model.about},
            }
        )

    async def no_such_model(request: Request) -> Response:
        found(request)
        raise HTTPException(404, "nothing here")

    async def counted(request: Request) -> Response:
        return Response(await figures(), media_type=Metrics.content_type)

    async def openapi(request: Request) -> Response:
        return _json(document(catalogue))

    routes = [
        Route("/v2/health/live", live),
        Route("/v2/health/ready", server_ready),
        Route("/v2", server),
        Route("/metrics", counted),
        Route("/openapi.json", openapi),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, metadata),
            Route(f"{path}/ready", model_ready),
            Route(f"{path}/infer", no_such_model, methods=["POST"]),
        ]
    made = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    made.router.redirect_slashes = False
    return made


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        405: f"{request.method} is not for {request.url.path}",
        404: f"{request.url.path}: not found",
    }
    usual = error.detail in ("Not Found", "Method Not Allowed")
    return _json(
        {"error": messages[error.status_code] if usual else error.detail}, error.status_code, error.headers
    )


def _json(content: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")
