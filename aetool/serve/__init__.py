"""Bundles over HTTP, by the Open Inference Protocol v2; needs the extra `serve`, no PyTorch.

    aetool serve exported/machines

A request goes through the files in this order: `_draining` (connections) and `_uvicorn_server` (bytes to
requests) with `_gate` (what is open), `_app` (routes, `auth`), `_protocol` (body to rows), `_batching` (which
requests are computed together, and where), `_protocol` again (the response). `warmup` makes a bundle ready,
`models` holds the served models by name, `_reload` replaces a bundle that was published anew, `_shadow`
compares a challenger with it. `_routes` and `_openapi` are everything but inference, `_health` is a process of
its own, `_metrics` and `logs` report, `_live` compares the rows that are scored with the training rows.
`server` puts all of it together, in one process or in several: `_workers` starts them, `_merging` adds up what
they count. Other rooms use `server`, `models.place`, `warmup.Opening` and `limits.ServerLimits`, and import
them only to serve.
"""

__all__ = ["auth", "limits", "logs", "models", "server", "warmup"]
