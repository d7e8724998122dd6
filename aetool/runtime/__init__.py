"""The part that an app embeds: a bundle run on aetool's core and onnxruntime, without PyTorch.

Read in this order: `session` (AutoencoderSession, the public methods), `_opened` (what they share, from
opening to closing), `graphs` (graphs opened and identified), `providers` and `ort` (onnxruntime, its execution
providers and sessions), `_inputs` and `categories` (data to rows), `native` (a few rows on aetool's core),
`cpu`, `_binding` and `chunks` (many on onnxruntime), `threshold` and `calibrator` (decisions), `explain`
(contributions), `following` (the current model of a directory), `settings`, `machine` and `tuning` (speed on
this machine), `_native_calls` (threads at the interpreter's end). `gpu` does the same on a GPU.

Other rooms import these modules; nothing is imported here, since every import slows the start of an app.
"""

__all__ = [
    "calibrator",
    "categories",
    "cells",
    "chunks",
    "cpu",
    "explain",
    "following",
    "graphs",
    "machine",
    "moments",
    "native",
    "ort",
    "providers",
    "session",
    "settings",
    "stream",
    "threshold",
    "tuning",
    "tuning_file",
]
