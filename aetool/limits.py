"""How much is read, and how large graphs may be: what a file whose author nobody knows may cost."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds that are checked before memory is taken; the defaults are generous."""

    manifest_bytes: int = 8 << 20
    """Of manifest.json, which takes up to 35 times as much memory while it is read."""
    file_bytes: int = 2 << 30
    """Of every other file; 2 GiB is protobuf's own limit for one message."""
    nodes: int = 20_000
    """In one graph, those of its inner graphs too."""
    depth: int = 8
    """Of graphs within graphs."""
    numbers_per_row: int = 48 << 20
    """That the values between a graph's nodes hold at one time for one row, in whatever order the nodes run, with
    the workspace of their operators: 192 MiB in float32. For n rows, n times as many."""
    hard_links: bool = False
    """Whether files may have other names, outside of the bundle: some package managers install by such links."""
    symbolic_links: bool = False
    """Whether files may be symbolic links that stay inside the bundle's directory, as in a mounted ConfigMap, or
    lead from `snapshots/` to `blobs/` of one model cache."""
    golden_bytes: int = 1 << 30
    """Of golden.npz, unpacked."""
    json_bytes: int = 64 << 20
    """Of any other JSON file, such as baseline.json of a bundle."""
    table_bytes: int = 16 << 30
    """Of a table that is read as a whole: of its text, or of its arrays, unpacked."""
    columns: int = 100_000
    """Of a table."""
    cell_bytes: int = 1 << 20
    """Of one cell of a table, or of a column's name."""
    compression_ratio: int = 200
    """Bytes that a byte of a compressed file may become, from 64 MiB on."""

    def excess(self, name: str, found: str) -> str:
        """Say what is above the limit `name`, and how to raise it; for the end of a message."""
        return (
            f"{found}, more than {getattr(self, name):,} allowed; if you trust the file, allow more with --limit "
            f"{name}=NUMBER, in Python limits=Limits({name}=...)"
        )


DEFAULT_LIMITS = Limits()
FEW_BYTES = 64 << 20
"""Unpacked, up to here nobody looks at the ratio: tables of zeros are small indeed."""
