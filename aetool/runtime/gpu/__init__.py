"""Graphs on a GPU.

Read in this order: `graph` (the face of a graph, as `cpu.Graph`), `_arrays` (arrays on the device, by DLPack),
`pinned` (rows of the host through page-locked memory). Imported only where a GPU is used.
"""

__all__ = ["graph", "pinned"]
