"""From a trained autoencoder to a bundle that is proven equal to it."""

from aetool.export.exporter import ExportOptions, export_checkpoint
from aetool.export.verification import verify_against

__all__ = ["ExportOptions", "export_checkpoint", "verify_against"]
