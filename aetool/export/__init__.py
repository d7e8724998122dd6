"""From a trained autoencoder to a bundle that is proven equal to it."""

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
