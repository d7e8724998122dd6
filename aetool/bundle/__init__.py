"""Files of a bundle on disk, read safely and written whole or not at all.

Read in this order: `bundle` (a directory opened and checked), `manifest` and `schema` (manifest.json), `images`
(rows that are pictures), `files` (safe reads, `Limits`), `npz`, `golden`, `baseline`, `card` and `bom` (its
other files), `atomic` and `write` (publishing), `keys` and `signature`, `escape` (a bundle's texts inside other
languages). Other rooms import these modules; nothing is imported here, since an app that opens a bundle needs
few of them.
"""

__all__ = [
    "atomic",
    "baseline",
    "bom",
    "bundle",
    "card",
    "escape",
    "files",
    "golden",
    "images",
    "keys",
    "manifest",
    "npz",
    "schema",
    "signature",
    "write",
]
