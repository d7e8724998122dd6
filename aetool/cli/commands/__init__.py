"""One file per command; `_infer_stream` runs those of `infer` over files bigger than memory."""

__all__ = [
    "adopt",
    "bench",
    "calibrate",
    "compression",
    "demo",
    "deploy",
    "drift",
    "evaluate",
    "export",
    "infer",
    "info",
    "init",
    "quantize",
    "report",
    "segment",
    "serve",
    "sign",
    "train",
    "tune",
    "verify",
]
