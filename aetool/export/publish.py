"""From an export input to a published bundle: slices, proof, golden vectors, manifest and model card."""

import io
import json
import os
import platform
import reprlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from numpy.typing import NDArray
from onnx import shape_inference

import aetool
from aetool.bundle.atomic import require_new
from aetool.bundle.baseline import BASELINE
from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.card import CARD, model_card
from aetool.bundle.files import DEFAULT_LIMITS
from aetool.bundle.golden import PARTIAL, evenly
from aetool.bundle.images import Shape, image_shape
from aetool.bundle.manifest import Manifest, Tolerances, Variant
from aetool.bundle.write import publish
from aetool.checks.parity import EXACT, ROUNDING, SCALED, OutputParity, largest_difference, summary
from aetool.decisions import calibrator_of
from aetool.errors import AetoolError, ExportError, InputError, VerificationError
from aetool.export._dynamic_batch import BATCH
from aetool.export._export_input import GOLDEN as GOLDEN_PROBE
from aetool.export._export_input import ExportInput, Reference, Rows
from aetool.export.graphs import slice_graphs
from aetool.export.opset import standard_opset
from aetool.export.verify import require_parity, verify_graphs
from aetool.onnx_check.check import refusal
from aetool.runtime.cpu import TYPES
from aetool.runtime.session import load

# Values between a graph's nodes that the runtime may bind to memory: see `aetool.onnx_check.edit`.

_FATAL_ALONE = 4
"""Severity from which onnxruntime writes to stderr: it raises its errors too, in the same words."""


def inner_values(model: bytes) -> tuple[str, ...]:
    """Return the values that remain after onnxruntime's fusions, each with the batch first.

    Of graphs of tables alone: with images, onnxruntime reorders memory between nodes, which outputs would undo.
    """
    graph = shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    if len(graph.input[0].type.tensor_type.shape.dim) != 2:
        return ()
    usable = {value.name for value in graph.value_info if _has_rows(value)}
    left = {name for node in _optimised(model).graph.node for name in node.output}
    # In the order of the graph, so that two exports give the same bytes.
    return tuple(name for node in graph.node for name in node.output if name in usable & left)


def _has_rows(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    batch, *row = tensor.shape.dim or [onnx.TensorShapeProto.Dimension()]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return batch.dim_param == BATCH and all(side.dim_value > 0 for side in row) and f"tensor({kind})" in TYPES


def _optimised(model: bytes) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ALONE
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return onnx.load(path)


COARSE, LOST = 1e-3, 0.1
"""Largest changes of scores by float32, as shares of their range: above the first, float64 is tried; above the
second, none is acceptable."""
_GOLDEN_BYTES = 4 << 20
FEWEST_ROWS = 16
"""Golden rows that are worth leaving out large outputs for."""


def _untold(step: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of every export."""

    name: str | None = None
    """Name of the bundle; the directory's by default."""
    contamination: float | None = None
    """Share of normal rows to flag; 0.01 by default."""
    threshold: float | None = None
    """A fixed threshold instead."""
    opset: int | None = None
    """ONNX operator set of the graphs; 18 by default, or what `onnxruntime_min` can load."""
    onnxruntime_min: str | None = None
    """Oldest onnxruntime release that must load the bundle, such as "1.17"."""
    image: Shape | None = None
    """Shape in which a row is a picture, such as (28, 28); by default told by its shape, or by names of pixels."""
    overwrite: bool = False
    """Replace a bundle that is there already."""
    progress: Callable[[str], None] = _untold
    """Called with each step as it begins, a few words."""


@dataclass(frozen=True, slots=True, repr=False)
class Exported:
    """The result of an export."""

    bundle: Bundle
    parity: list[OutputParity]
    """Comparisons made before publishing."""
    notes: tuple[str, ...] = ()
    """Notes for the user, a sentence each."""

    def __repr__(self) -> str:
        """Return the class and the bundle's path."""
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
    candidate: ExportInput,
    path: Path,
    options: ExportOptions,
    *,
    otherwise: Callable[[], ExportInput | None] = lambda: None,
    optional: Sequence[str] = (),
) -> Exported:
    """Prove that the graphs cut from `candidate` compute its reference, and publish them.

    Args:
        candidate: the model with its reference and rows.
        path: the bundle's directory.
        options: options of the export.
        otherwise: gives another form of the same computation, slower but more exact, to prove where the first
            one fails or float32 moves the scores by more than COARSE; None where there is none.
        optional: graphs that are left out where they fail.

    Raises:
        VerificationError: they do not; nothing is published.
        ExportError: a graph that `aetool.load` would not let in.
        OutputError: `path` exists, or cannot be written.
    """
    name = options.name or path.name
    image = _image(candidate, options.image)
    options.progress("cutting the graphs")
    graphs, parity = _prove(candidate, name, options.progress)
    lost, notes = _lost_to_rounding(parity), candidate.notes
    passed = all(record.passed for record in parity)
    if (not passed or lost > COARSE) and (exact := _exact(otherwise, name, options.progress)) is not None:
        candidate, graphs, parity = exact
        notes += (
            f"the graphs compute in float64, larger and slower: float32 rounding would change scores by "
            f"{lost:.1e} of their range",
        )
        lost = 0.0
    if lost > LOST:
        raise VerificationError(
            f"{name}: its scores are lost in rounding: float32 changes those of real rows by {lost:.1%} of "
            "their range. The reconstruction is nearly the row itself; subtract what is large and constant from "
            "the rows, or scale them, before training"
        )
    left_out = {record.graph: record.reason for record in parity if not record.passed and record.graph in optional}
    graphs = {graph: content for graph, content in graphs.items() if graph not in left_out}
    parity = [record for record in parity if record.graph not in left_out]
    notes += tuple(f"without the {graph}: it does not agree ({reason})" for graph, reason in left_out.items())
    require_parity(parity, name, candidate.reference)
    if lost > COARSE:
        notes += (f"float32 changes scores by {lost:.1e} of their range, in PyTorch as in the bundle",)
    options.progress("writing the bundle")
    threshold = candidate.threshold
    golden = candidate.expected(candidate.rows)
    for graph, content in graphs.items():
        row = golden["embedding"].shape[1:] if graph == "decoder" else candidate.rows.shape[1:]
        if (reason := refusal(content, row, DEFAULT_LIMITS)) is not None:
            raise ExportError(
                f"{name}: aetool.load would refuse the {graph}: {reason}; use another operator or smaller "
                "layers; sizes that are computed become fixed with torch.onnx.export(..., dynamo=True)"
            )
    files = {f"{graph}.onnx": content for graph, content in graphs.items()}
    files[GOLDEN] = _pack_golden(candidate.rows, golden)
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
                tolerances=_tolerances(parity),
                inner_values={name: values for name, graph in graphs.items() if (values := inner_values(graph))},
                figures={
                    **candidate.figures,
                    **({"left_out": left_out} if left_out else {}),
                    "reference": candidate.reference,
                    "max_scaled_difference": largest_difference(parity),
                    "flipped_decisions": sum(record.flipped or 0 for record in parity),
                    "bytes": {graph: len(content) for graph, content in graphs.items()},
                },
            )
        },
        provenance=candidate.provenance,
        files={},
        series=candidate.series,
        image=image,
    )
    if candidate.baseline is not None and (made := calibrator_of(manifest, candidate.baseline.scores)) is not None:
        place, files[made[0]] = made
        first = manifest.variants["fp32"]._replace(calibrator=place)
        manifest = manifest._replace(variants={"fp32": first})
    files[CARD] = model_card(manifest).encode()
    published = publish(path, manifest, files, overwrite=options.overwrite, check=_require_loadable)
    return Exported(published, parity, notes)


def _image(candidate: ExportInput, asked: Shape | None) -> Shape | None:
    if candidate.series is None and not candidate.categories:
        return image_shape(asked, candidate.rows.shape[1:], [feature.name for feature in candidate.features])
    if asked is not None:
        what = "windows of a log" if candidate.series is not None else "of columns with categories"
        raise InputError(f"image: rows are {what}, not pictures; leave it out")
    return None


def _prove(
    candidate: ExportInput, name: str, progress: Callable[[str], None]
) -> tuple[dict[str, bytes], list[OutputParity]]:
    """Cut the graphs from a candidate, and compare them with its reference."""
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
    return graphs, verify_graphs(graphs, candidate, progress)


def _exact(
    otherwise: Callable[[], ExportInput | None], name: str, progress: Callable[[str], None]
) -> tuple[ExportInput, dict[str, bytes], list[OutputParity]] | None:
    """Return the more exact form with its graphs and proof; None if there is none, or it fails too."""
    try:
        exact = otherwise()
        if exact is None:
            return None
        graphs, parity = _prove(exact, name, progress)
    except ExportError:  # torch or onnxruntime has no such operator in float64
        return None
    return (exact, graphs, parity) if all(record.passed for record in parity) else None


def _pack_golden(rows: Rows, outputs: Reference) -> bytes:
    """Return golden.npz for `rows` and what the reference gives for them, _GOLDEN_BYTES at most.

    Rows are spread over those given, as many as fit. Where not even FEWEST_ROWS do, the outputs that are as large
    as their row (golden.PARTIAL) are kept for the first row alone; and where the rows themselves are too large,
    fewer of them, at least one.
    """
    content = _archive({"features": rows, **outputs})
    if len(content) <= _GOLDEN_BYTES:
        return content
    each = len(content) / len(rows)
    partial = _GOLDEN_BYTES / each < FEWEST_ROWS
    if partial:
        each = len(_archive({"features": rows})) / len(rows)
    count = max(1, min(len(rows), int(_GOLDEN_BYTES / each)))
    while True:
        kept = evenly(len(rows), count)
        large = kept[:1] if partial else kept
        chosen = {key: value[large if key in PARTIAL else kept] for key, value in outputs.items()}
        if partial:
            chosen |= {key: chosen[key].astype(np.float32) for key in PARTIAL if key in chosen}
        content = _archive({"features": rows[kept], **chosen})
        if len(content) <= _GOLDEN_BYTES or count == 1:
            return content
        count = max(1, min(count - 1, int(count * _GOLDEN_BYTES / len(content))))


def _archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _lost_to_rounding(parity: Sequence[OutputParity]) -> float:
    """Return how far float32 alone moves the scores of normal real rows, as a share of their range."""
    moved = {record.rows: record.float32 or 0.0 for record in parity if record.output == "score"}
    return moved.get("normal golden", moved.get("golden", 0.0))


def _tolerances(parity: Sequence[OutputParity]) -> Tolerances | None:
    """Return tolerances for golden rows on other machines, wider than usual where rounding alone requires it;
    else None."""
    wider: dict[str, Any] = {}
    for record in parity:
        alone = ROUNDING * (record.float32 or 0.0)
        if record.rows == GOLDEN_PROBE and record.output in SCALED and np.isfinite(alone):
            usual = wider.get(record.output, getattr(EXACT, record.output))
            if (needed := max(record.tolerance, alone)) > usual:
                wider[record.output] = needed
    return EXACT._replace(**wider) if wider else None


def _require_loadable(folder: Path) -> None:
    """Open and run the written bundle as an app would: nothing is published that `load` refuses.

    Raises:
        ExportError: with the message of `load`.
    """
    try:
        with load(folder, provider="cpu") as model:
            row = np.zeros((1, *model.manifest.input_shape), np.float32)
            for graph in model.graphs:
                shape = model.manifest.embedding_shape if graph == "decoder" else None
                model.run(graph, row if shape is None else np.zeros((1, *shape), np.float32))
    except AetoolError as error:
        raise ExportError(f"aetool.load refuses the exported bundle: {error}; nothing was published") from error


def _now() -> str:
    """Return the time of export; SOURCE_DATE_EPOCH if it is set, so that exports are reproducible."""
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
