"""Bundles over HTTP, by the Open Inference Protocol v2; needs the extra `serve`, no PyTorch.

    aetool serve exported/machines

A request goes through the files in this order: `uvicorn_server` (bytes to requests), `app` (who is asked),
`protocol` (what is asked), `batching` (which requests are computed together, and where), `protocol` again (the
response). `warmup` makes a bundle ready, `models` holds what is served under which name, `reload` replaces it when
another bundle is published in its place. `server` puts all of it together.
"""
