"""From a candidate to a published bundle: slices, proof, golden vectors, manifest."""

import io
import json
import os
import platform
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch

import aetool
from aetool.baseline import BASELINE
from aetool.bundle import GOLDEN, Bundle
from aetool.errors import ExportError, InputError
from aetool.export.candidate import Candidate, Reference, Rows
from aetool.export.card import model_card
from aetool.export.compatibility import standard_opset
from aetool.export.graphs import slice_graphs
from aetool.export.inner_values import inner_values
from aetool.export.verification import require_parity, verify_graphs
from aetool.limits import DEFAULT_LIMITS
from aetool.manifest import Manifest, Variant
from aetool.parity import OutputParity, summary
from aetool.publish import publish, record_files
from aetool.runtime.admission import refusal
from aetool.storage import require_new


@dataclass(frozen=True, slots=True)
class ExportOptions:
    name: str | None = None
    """Name of the bundle; the directory's by default."""
    contamination: float | None = None
    """Share of held-out normal rows to flag; 0.01 by default."""
    threshold: float | None = None
    """A fixed threshold instead."""
    opset: int | None = None
    """ONNX operator set of the graphs; 18 by default, or what `onnxruntime_min` can load."""
    onnxruntime_min: str | None = None
    """Oldest onnxruntime release that must load the bundle, such as "1.17"."""
    overwrite: bool = False
    """Replace a bundle that is there already."""


@dataclass(frozen=True, slots=True, repr=False)
class Exported:
    bundle: Bundle
    parity: list[OutputParity]
    """What was proven before publishing."""
    notes: tuple[str, ...] = ()
    """What a person should know of it, such as a graph that was left out."""

    def __repr__(self) -> str:
        return f"<Exported {self.bundle.manifest.name!r}: {summary(self.parity)}>"


def prepare(path: str | Path, options: ExportOptions) -> Path:
    """Refuse early what would fail after the work.

    Raises:
        InputError: the name cannot be one.
        OutputError: `path` exists, or cannot be written.
    """
    path = Path(path)
    name = options.name or path.name
    if not name.isprintable():
        raise InputError(f"name: expected one line of printable characters, found {name!r}; pass another --name")
    _now()
    require_new(path, options.overwrite)
    return path


def publish_candidate(
    candidate: Candidate,
    path: Path,
    options: ExportOptions,
    *,
    otherwise: Callable[[], Candidate | None] = lambda: None,
    optional: Sequence[str] = (),
) -> Exported:
    """Prove that the graphs cut from `candidate` compute its reference, and publish them.

    Args:
        otherwise: gives another form of the same computation, slower but more exact, to prove where the first
            one fails; None where there is none.
        optional: graphs that are left out where they fail.

    Raises:
        VerificationError: they do not; nothing is published.
        ExportError: a graph that `aetool.load` would not let in.
        OutputError: `path` exists, or cannot be written.
    """
    name = options.name or path.name
    graphs, parity = _prove(candidate, name)
    if not all(record.passed for record in parity) and (exact := otherwise()) is not None:
        exact_graphs, exact_parity = _prove(exact, name)
        if all(record.passed for record in exact_parity):
            candidate, graphs, parity = exact, exact_graphs, exact_parity
    left_out = {record.graph: record.reason for record in parity if not record.passed and record.graph in optional}
    graphs = {graph: content for graph, content in graphs.items() if graph not in left_out}
    parity = [record for record in parity if record.graph not in left_out]
    require_parity(parity, name, candidate.reference)
    notes = tuple(f"without the {graph}: it does not agree ({reason})" for graph, reason in left_out.items())
    threshold = candidate.threshold
    golden = candidate.expected(candidate.rows)
    for graph, content in graphs.items():
        row = golden["embedding"].shape[1:] if graph == "decoder" else candidate.rows.shape[1:]
        if (reason := refusal(content, row, DEFAULT_LIMITS)) is not None:
            raise ExportError(
                f"{name}: aetool.load would refuse the {graph}: {reason}; use another operator, or smaller layers"
            )
    files = {f"{graph}.onnx": content for graph, content in graphs.items()}
    files[GOLDEN] = _golden(candidate.rows, golden)
    if candidate.baseline is not None:
        files[BASELINE] = candidate.baseline.to_json().encode()
    manifest = Manifest(
        name=name,
        id=candidate.identity,
        created=_now(),
        tools=_tools(),
        input_shape=candidate.rows.shape[1:],
        embedding_shape=golden["embedding"].shape[1:] if "embedding" in golden else None,
        features=candidate.features,
        opset=standard_opset(candidate.graph),
        ir_version=candidate.graph.ir_version,
        score=candidate.score,
        threshold={"value": threshold.value, **threshold.rule},
        variants={
            "fp32": Variant(
                files={graph: f"{graph}.onnx" for graph in graphs},
                threshold=threshold.value,
                inner_values={name: values for name, graph in graphs.items() if (values := inner_values(graph))},
                figures={
                    **candidate.figures,
                    **({"left_out": left_out} if left_out else {}),
                    "reference": candidate.reference,
                    "max_scaled_difference": max(record.max_scaled for record in parity),
                    "flipped_decisions": sum(record.flipped or 0 for record in parity),
                    "bytes": {graph: len(content) for graph, content in graphs.items()},
                },
            )
        },
        provenance=candidate.provenance,
        files={},
    )
    files["README.md"] = model_card(manifest).encode()
    manifest = manifest._replace(files=record_files(files))
    return Exported(publish(path, manifest, files, overwrite=options.overwrite), parity, notes)


def _prove(candidate: Candidate, name: str) -> tuple[dict[str, bytes], list[OutputParity]]:
    """The graphs cut from a candidate, and how far they lie from its reference."""
    metadata = {
        "name": name,
        "bundle": candidate.identity,
        "precision": "fp32",
        "threshold": repr(candidate.threshold.value),
        "feature_names": json.dumps([feature.name for feature in candidate.features], ensure_ascii=False),
        "score": str(candidate.score["definition"]),
    }
    if candidate.categories:
        metadata["categories"] = json.dumps(candidate.categories, ensure_ascii=False)
    graphs = slice_graphs(candidate.graph, metadata, aetool.__version__)
    return graphs, verify_graphs(graphs, candidate)


def _golden(rows: Rows, outputs: Reference) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, features=rows, **outputs)
    return stream.getvalue()


def _now() -> str:
    """The time of export; SOURCE_DATE_EPOCH where it is set, so that two exports can be the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {reprlib.repr(epoch)}") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _tools() -> dict[str, str]:
    return {
        "aetool": aetool.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
