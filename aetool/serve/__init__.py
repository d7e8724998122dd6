"""Bundles over HTTP, by the Open Inference Protocol v2; needs the extra `serve`, no PyTorch.

    aetool serve exported/machines

A request goes through the files in this order: `connections` (bytes to requests), `app` (who is asked), `body`,
`request` (what is asked), `batching` (which requests are computed together, and where), `answer`. `loading` makes
a bundle ready, `catalogue` holds what is served under which name, `watching` replaces it when another bundle is
published in its place. `server` puts all of it together.
"""
