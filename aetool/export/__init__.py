"""From a trained autoencoder to a bundle that is proven equal to it.

Each source makes an `_export_input`: `_checkpoint` (of `aetool train`), `_module` with `_module_checks` (any
PyTorch module), `_adopt` with `_onnx_input` and `_scoring_nodes` (an ONNX file), `_pyod`, `sklearn_pipeline`.
`threshold` chooses where normal ends. From there all go one way: `graphs` with `_dynamic_batch`, `opset` and
`_graph_checks` (one graph, and its slices), `verify` (the proof), `publish` (golden vectors, manifest and model
card).
"""

from aetool.export._adopt import AdoptOptions, adopt
from aetool.export._checkpoint import export_checkpoint
from aetool.export._module import ModuleOptions, export_module
from aetool.export._pyod import export_pyod
from aetool.export.publish import Exported, ExportOptions
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
    "graphs",
    "opset",
    "publish",
    "sklearn_pipeline",
    "threshold",
    "verify",
    "verify_against",
]
