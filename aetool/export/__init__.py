"""From a trained autoencoder to a bundle that is proven equal to it.

Each source makes an `export_input`: `checkpoint` (of `aetool train`), `module` with `module_checks` (any
PyTorch module), `adopt` with `onnx_input` and `scoring_nodes` (an ONNX file), `pyod`, `sklearn_pipeline`.
`threshold` chooses where normal ends. From there all go one way: `graphs` with `dynamic_batch`, `opset` and
`graph_checks` (one graph, and its slices), `verify` (the proof), `publish` (golden vectors, manifest and model
card).
"""

from aetool.export.adopt import AdoptOptions, adopt
from aetool.export.checkpoint import export_checkpoint
from aetool.export.module import ModuleOptions, export_module
from aetool.export.publish import Exported, ExportOptions
from aetool.export.pyod import export_pyod
from aetool.export.verify import verify_against

__all__ = [
    "AdoptOptions",
    "ExportOptions",
    "Exported",
    "ModuleOptions",
    "adopt",
    "export_checkpoint",
    "export_module",
    "export_pyod",
    "verify_against",
]
