"""`quantize`: a precision for a bundle, made, measured, and added if it stays within the budget."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import aetool
from aetool.bench.contestants import Load, bundle_contestant, opened
from aetool.bench.rounds import compared, take_turns
from aetool.bench.rows import make_pool, pool_size
from aetool.bundle.bundle import Bundle
from aetool.bundle.card import CARD, model_card
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.manifest import Manifest, Variant
from aetool.bundle.write import publish
from aetool.checks.fidelity import Budget
from aetool.choices import CALIBRATIONS, PRECISIONS, Calibration, Precision
from aetool.errors import BundleError, InputError, OutputError
from aetool.export.publish import inner_values
from aetool.quantize._calibration import Floats, Labels, Split, split_rows
from aetool.quantize._int8 import ACTIVATIONS
from aetool.quantize._search import Attempt, Progress, find_recipe, refused
from aetool.quantize._trial import VariantTrial, Workbench

# Speed of a precision, compared with float32 in turns, through the API that apps use.

_BULK_ROWS = 16_384
MOST_BYTES = 1 << 28
"""Maximum size of the rows to measure with, in bytes."""
GRAPH = "score"


def measure_speed(
    staged: Path,
    manifest: Manifest,
    precision: str,
    rows: Floats,
    *,
    seconds: float,
    rounds: int,
    progress: Callable[[str], None],
    limits: Limits,
) -> dict[str, Any]:
    """Return ratios of `score` in `precision` to fp32: above 1 is faster.

    Args:
        staged: a bundle that has both.
        manifest: its manifest.
        precision: the new precision.
        rows: real rows.
        seconds: duration of one turn.
        rounds: number of turns for one row, and for many.
        progress: called with the current step.
        limits: limits for reading the bundle, see `load`.

    Raises:
        BenchmarkError: a process fails.
    """
    bulk = min(_BULK_ROWS, max(64, MOST_BYTES // rows[0].nbytes))
    speed: dict[str, Any] = {"graph": GRAPH, "bulk_rows": bulk, "rounds": rounds, "seconds": seconds}
    with tempfile.TemporaryDirectory(prefix="aetool-quantize-") as folder:
        contestants = [
            bundle_contestant(name, staged, limits, graph=GRAPH, provider="cpu", precision=name)
            for name in ("fp32", precision)
        ]
        with opened(contestants) as running:
            for contestant in running:
                contestant.load()
            for name, batch in (("one_row", 1), ("bulk", bulk)):
                progress(f"{precision}: speed, {batch:,} row{'s' * (batch > 1)}")
                pool = make_pool(rows[: pool_size(batch)], manifest, "rows", batch, 0)
                np.save(file := Path(folder) / f"{name}.npy", pool.for_batch(batch))
                for contestant in running:
                    contestant.take(file)
                turns = take_turns(running, Load(batch=batch, seconds=seconds), rounds=rounds)
                figure = "p50_s" if batch == 1 else "rows_per_s"
                times = (turns["fp32"], turns[precision])
                ratio = compared(*times, "p50_s") if figure == "p50_s" else compared(*times[::-1], "rows_per_s")
                speed[name] = ratio.median
                speed[f"{name}_range"] = [ratio.low, ratio.high]
    return speed


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Options of `quantize`."""

    calibration: Calibration = "minmax"
    """Method that sets ranges, for int8 alone; others are tried if the budget requires it."""
    overwrite: bool = False
    """Replace the precision where the bundle has it already."""
    seed: int = 0
    """Draws which rows calibrate and which judge."""
    rounds: int = 5
    """Turns of each, for one row and for many, of the speed measurement."""
    seconds: float = 0.2
    """Duration of one turn, in seconds."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """The result of `quantize`."""

    bundle: Bundle
    """The bundle after the change."""
    precision: Precision
    variant: Variant
    tried: tuple[Attempt, ...]
    """The last is what was added."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """Return the measurements, as in the manifest: "fidelity", "speed", "bytes_ratio", ..."""
        return self.variant.figures


def quantize(
    path: str | Path,
    rows: NDArray[Any],
    labels: Labels | None = None,
    *,
    precision: Precision = "int8",
    options: QuantizeOptions | None = None,
    budget: Budget | None = None,
    progress: Progress = lambda text: None,
    limits: Limits = DEFAULT_LIMITS,
) -> Quantized:
    """Add a precision to the bundle at `path`, or change nothing and raise.

    Args:
        path: the bundle's directory.
        rows: real ones, (rows, ...), as the bundle takes them. The normal ones calibrate and set the threshold;
            where there are enough, half of them are kept apart to judge by.
        labels: (rows,) True for anomalies; without them all rows are normal, and there is no AUROC.
        precision: the precision to add.
        options: calibration and effort of the measurements.
        budget: `Budget()` by default. Without a `min_speedup`, a variant that is neither smaller nor faster is
            outside it.
        progress: called with the current step.
        limits: limits for reading the bundle, see `load`.

    Raises:
        BudgetError: it costs more than the budget allows, whatever was tried, or gains nothing.
        InputError: the rows do not fit the bundle, or an option is none.
        ExportError: the bundle has nothing that this precision changes, or is not of this aetool's making.
        VerificationError: the variant would lose what no precision may.
        OutputError: the bundle has the precision already, or cannot be written.
    """
    options, budget = options or QuantizeOptions(), budget or Budget()
    bundle = Bundle.open_whole(path, limits=limits)
    _require_possible(bundle, precision, options)
    split = split_rows(_as_rows(bundle, rows), labels, options.seed)
    bench = Workbench(bundle, split)
    trial, attempts = find_recipe(bench, precision, options.calibration, budget, progress)
    tolerances = bench.prove(trial)
    variant = Variant(
        files={name: f"{precision}/{name}.onnx" for name in trial.graphs},
        threshold=trial.threshold.value,
        inner_values={name: values for name, graph in trial.graphs.items() if (values := inner_values(graph))}
        or None,
        tolerances=tolerances,
        figures=_figures(bench, trial, attempts, budget),
    )
    with tempfile.TemporaryDirectory(prefix="aetool-quantize-") as folder:
        staged = _publish(bundle, Path(folder) / "staged", precision, variant, trial.graphs)
        speed = measure_speed(
            staged.path,
            staged.manifest,
            precision,
            split.judged,
            seconds=options.seconds,
            rounds=options.rounds,
            progress=progress,
            limits=limits,
        )
    outside = budget.exceeded(trial.fidelity, speed["bulk"])
    smaller, faster = variant.figures["bytes_ratio"]["all"] < 1, max(speed["bulk"], speed["one_row"]) > 1
    if budget.min_speedup is None and not (smaller or faster):
        outside.append("neither smaller nor faster than fp32 here (--min-speedup 0 keeps it for another machine)")
    if outside:
        attempts[-1] = replace(attempts[-1], reasons=tuple(outside))
        raise refused(bench, precision, trial, attempts)
    variant = variant._replace(figures=_plain({**variant.figures, "speed": speed}))
    if Bundle.open(path, limits=limits).manifest != bundle.manifest:
        raise BundleError(f"{path}: was replaced by another bundle in the meantime; quantize it again")
    made = _publish(bundle, Path(path), precision, variant, trial.graphs)
    return Quantized(made, precision, variant, tuple(attempts))


def _require_possible(bundle: Bundle, precision: Precision, options: QuantizeOptions) -> None:
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}; choose one")
    if options.calibration not in CALIBRATIONS:
        raise InputError(f"calibration: expected one of {', '.join(CALIBRATIONS)}, found {options.calibration!r}")
    if precision in bundle.manifest.variants and not options.overwrite:
        raise OutputError(f"{bundle.path}: has {precision} already; pass --overwrite to replace it")


def _as_rows(bundle: Bundle, rows: NDArray[Any]) -> Floats:
    array, shape = np.asarray(rows), bundle.manifest.input_shape
    if array.dtype.kind not in "biuf" or array.shape[1:] != shape:
        raise InputError(
            f"rows: expected numbers of shape (rows, {', '.join(map(str, shape))}), found {array.dtype!s:.40} of "
            f"shape {array.shape}; give rows as the bundle takes them"
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def _figures(bench: Workbench, trial: VariantTrial, attempts: list[Attempt], budget: Budget) -> dict[str, Any]:
    split: Split = bench.split
    sizes = {name: len(graph) for name, graph in trial.graphs.items()}
    before = {name: len(graph) for name, graph in bench.float32.items()}
    ratios = {name: size / before[name] for name, size in sizes.items()}
    recipe = trial.recipe
    return {
        "fidelity": dataclasses.asdict(trial.fidelity),
        "reconstruction_error_ratio": bench.error_ratio(trial),
        "bytes": sizes,
        "bytes_ratio": {**ratios, "all": sum(sizes.values()) / sum(before.values())},
        "threshold": {"value": trial.threshold.value, **trial.threshold.rule},
        "recipe": {
            "calibration": recipe.calibration if recipe.precision == "int8" else None,
            "in_float": recipe.in_float,
            "activations": np.dtype(ACTIVATIONS).name if recipe.precision == "int8" else None,
        },
        "rows": {"calibration": len(split.calibration), "judged": len(split.judged), "disjoint": split.disjoint},
        "budget": dataclasses.asdict(budget),
        "tried": [attempt.record for attempt in attempts],
        "tools": {
            "aetool": aetool.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def _publish(
    bundle: Bundle, path: Path, precision: Precision, variant: Variant, graphs: Mapping[str, bytes]
) -> Bundle:
    """Rewrite the whole bundle with the variant; its other files stay as they were."""
    old = bundle.manifest
    before = old.variants.get(precision)
    replaced = set() if before is None else {*before.files.values(), before.calibrator or ""}
    replaced -= {
        name for other, each in old.variants.items() if other != precision for name in each.files.values()
    }
    files = {name: bundle.read(name) for name in old.files if name not in replaced}
    files |= {variant.files[name]: content for name, content in graphs.items()}
    manifest = old._replace(variants={**old.variants, precision: variant})
    files[CARD] = model_card(manifest).encode()
    return publish(path, manifest, files, overwrite=True)


def _plain(value: Any) -> Any:
    """Return the value as JSON gives it back; numbers that are not finite become null."""

    def finite(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: finite(each) for key, each in part.items()}
        if isinstance(part, list | tuple):
            return [finite(each) for each in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.loads(json.dumps(finite(value)))


# A copy of a bundle with one more precision: trying it changes nothing in the bundle.


def quantized_copy(
    bundle: Path,
    copy: Path,
    *,
    rows: NDArray[Any],
    labels: Labels | None,
    precision: Precision,
    budget: Budget,
    limits: Limits = DEFAULT_LIMITS,
) -> Quantized:
    """Copy `bundle` and add `precision` to the copy; the speed is for the caller to judge.

    Raises:
        BudgetError: it costs more than the budget allows.
        InputError, ExportError, VerificationError: as `quantize`.
    """
    opened = Bundle.open_whole(bundle, limits=limits)  # its files alone, of which some may be links
    publish(copy, opened.manifest, {name: opened.read(name) for name in opened.manifest.files})
    faithful = replace(budget, min_speedup=None)
    return quantize(
        copy,
        rows,
        labels,
        precision=precision,
        options=QuantizeOptions(rounds=2, seconds=0.05),
        budget=faithful,
        limits=limits,
    )
