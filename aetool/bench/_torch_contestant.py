"""Factories for `aetool.bench.contestants`: a checkpoint in PyTorch as a contestant.

This module is executed alone in the contestant's process; what is timed is imported by the factories.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

Phase = Callable[[str], AbstractContextManager[None]]

OUTPUT = {"encode": "embedding", "reconstruct": "reconstruction", "score": "score"}


def eager(phase: Phase, *, checkpoint: str, graph: str, threads: int | None = None, device: str = "cpu") -> Any:
    """Run the pipeline in float32, eval mode and inference mode: from numpy, to numpy."""
    # A program with PyTorch does without onnxruntime, and so must the memory that is measured here; aetool would
    # import it.
    sys.modules["onnxruntime"] = None  # type: ignore[assignment]
    with phase("import"):
        import torch
    from aetool.model import load_checkpoint

    if threads is not None:
        torch.set_num_threads(threads)
    with phase("session_creation"):
        pipeline = load_checkpoint(checkpoint).pipeline(torch.float32).to(device)
        run = _function(pipeline, graph)
    return _subject(torch, run, graph, device)


def compiled(phase: Phase, *, checkpoint: str, graph: str, threads: int | None = None, device: str = "cpu") -> Any:
    """Run the same through `torch.compile`; the first run, and the first of every shape, compiles."""
    subject = eager(phase, checkpoint=checkpoint, graph=graph, threads=threads, device=device)
    import torch

    with phase("session_creation"):
        run = torch.compile(subject.run)
    return _subject(torch, run, graph, device)


def _function(pipeline: Any, graph: str) -> Callable[[Any], Any]:
    """Return the function that computes `graph`, without operations that it does not need."""

    from aetool.model.pipeline import scored

    def encode(features: Any) -> Any:
        return pipeline.network.encode(pipeline.standardise(features))

    def reconstruct(features: Any) -> Any:
        raw = pipeline.network.decode(encode(features)) * pipeline.scale + pipeline.mean
        return raw if pipeline.encoding is None else pipeline.encoding.decode(raw)

    def score(features: Any) -> Any:
        missing, standardised = pipeline.missing(features), pipeline.standardise(features)
        residual = standardised - pipeline.network.decode(pipeline.network.encode(standardised))
        near = None if pipeline.nearest is None else pipeline.nearest(standardised, missing)
        return scored(residual, missing, near)[0]

    return {"encode": encode, "reconstruct": reconstruct, "score": score}[graph]


def _subject(torch: Any, run: Callable[[Any], Any], graph: str, device: str) -> Any:
    def call(rows: Any) -> Any:
        with torch.inference_mode():
            return run(torch.from_numpy(rows).to(device)).cpu().numpy()

    return SimpleNamespace(run=run, call=call, outputs=(OUTPUT[graph],), provider=device)
