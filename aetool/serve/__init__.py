"""Bundles over HTTP, by the Open Inference Protocol v2; needs the extra `serve`, no PyTorch.

    aetool serve exported/machines

A request goes through the files in this order: `uvicorn_server` (bytes to requests) with `gate` (open
connections), `app` (routes, `auth`), `protocol` (body to rows), `batching` (which requests are computed together,
and where), `protocol` again (the response). `warmup` makes a bundle ready, `models` holds the served models by
name, `reload` replaces a bundle that was published anew. `routes` and `openapi` are everything but inference,
`health` is a process of its own, `metrics` and `logs` report. `server` puts all of it together. Other rooms use
`server`, `models.place`, `warmup.Opening` and `limits.ServerLimits`, and import them only to serve.
"""
