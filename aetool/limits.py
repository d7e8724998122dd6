"""How much of a bundle is read, and how large its graphs may be: what an author nobody knows may cost."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds that are checked before anything is parsed or run; the defaults are generous for an autoencoder."""

    manifest_bytes: int = 8 << 20
    """Of manifest.json, which takes up to 35 times as much memory while it is read."""
    file_bytes: int = 2 << 30
    """Of every other file; 2 GiB is protobuf's own limit for one message."""
    nodes: int = 20_000
    """In one graph, those of its inner graphs too."""
    depth: int = 8
    """Of graphs within graphs."""
    numbers_per_row: int = 48 << 20
    """That the values between a graph's nodes hold at one time for one row, 192 MiB in float32."""
    hard_links: bool = False
    """Whether files may have other names, outside of the bundle: some package managers install by such links."""
    symbolic_links: bool = False
    """Whether files may be symbolic links that stay inside the bundle's directory, as in a mounted ConfigMap, or
    lead from `snapshots/` to `blobs/` of one model cache."""


DEFAULT_LIMITS = Limits()
