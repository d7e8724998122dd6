"""`aetool info` and `aetool doctor`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, facts, fail, file_sizes, reports, table
from aetool.cli._progress import steps
from aetool.cli.show.bundle import row_threshold, show_precisions
from aetool.cli.show.training import epochs_line

if TYPE_CHECKING:
    from aetool.bundle.bundle import Bundle

_TOLD = ("history", "epochs", "validation_loss_of_mean")  # of a provenance, in a line of their own
_RARE = ("id", "opset", "provenance", "made with", "files", "training")  # facts of --all
_SHOWN = 12  # feature names; --json has them all


@click.command()
@click.argument("path", type=options.PATH)
@click.option("--all", "every", is_flag=True, help="Show everything, such as versions, hashes and every file.")
@limit(table=False, bundle=True)
@reports
def info(path: Path, every: bool) -> Result:
    """Describe a bundle or a checkpoint.

    \b
    Example:
      aetool info exported/machines
      aetool info exported/machines --all
    """
    if paths.what(path) == paths.CHECKPOINT:
        return _checkpoint(path, every)
    from aetool.bundle.bundle import Bundle
    from aetool.bundle.manifest import DOUBLE
    from aetool.runtime.tuning import find_tuning

    paths.require_bundle(path)
    bundle = Bundle.open(path.absolute(), limits=limits_in_force())
    manifest, tuning = bundle.manifest, find_tuning(bundle, "auto", "auto")
    variant = manifest.variants["fp32"]
    pairs = [
        ("bundle", f"{manifest.name}, format {manifest.format_version}, made {manifest.created}"),
        ("id", manifest.id[:16]),
        ("input shape", _shape(manifest.input_shape)),
        ("features", _shortened(manifest.feature_names) if manifest.features else "without names"),
        *_categories(manifest.categories),
        ("embedding shape", _shape(manifest.embedding_shape)),
        ("graphs", ", ".join(variant.files)),
        ("on the core", _on_core(bundle)),
        *([("tuning", tuning.words)] if tuning else []),
        ("score", str(manifest.score.get("definition", ""))),
        ("threshold", f"{variant.threshold:.6g} ({manifest.threshold.get('method', '')})"),
        *row_threshold(manifest),
        *([("arithmetic", "float64 inside")] if variant.figures.get("form") in DOUBLE else []),
        ("opset", f"{manifest.opset}, IR {manifest.ir_version}"),
        *_epochs(manifest.provenance),
        ("provenance", _listed({k: v for k, v in manifest.provenance.items() if k not in _TOLD})),
        *_segments(manifest.segments),
        ("made with", ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items())),
        ("files", file_sizes({name: record.size for name, record in manifest.files.items()})),
    ]

    def show(out: Console) -> None:
        out.print(facts(pairs if every else [pair for pair in pairs if pair[0] not in _RARE]))
        if every or len(manifest.variants) > 1:
            out.print()
            show_precisions(out, manifest, every=every)
        _tell_more(out, every)

    document = {"kind": "bundle", **manifest.to_dict(), "tuning": tuning}
    return Result(document, show)


def _on_core(bundle: "Bundle") -> str:
    """Return the graphs that aetool's own core runs."""
    from aetool.core.native import vectors, why_not
    from aetool.errors import BundleError
    from aetool.runtime.graphs import GraphLoader
    from aetool.runtime.settings import DEFAULTS

    if (kind := vectors()) is None:
        return f"none: {why_not()}"
    loader = GraphLoader(bundle, "fp32", "native", None, DEFAULTS, limits_in_force())
    try:
        names = [graph for graph in loader.graphs if loader.on_core(graph)]
    except BundleError as error:
        return f"unknown: {error}"
    return f"{', '.join(names)} ({kind})" if names else "none: see docs/core.md for what it runs"


def _tell_more(out: Console, every: bool) -> None:
    if not every and out.is_terminal:
        out.print("\n--all shows more", style="dim")


def _checkpoint(path: Path, every: bool) -> Result:
    with needs("train", "reading a checkpoint"):
        from aetool.model import load_checkpoint
    steps().step(f"reading {path.name}")
    trained = load_checkpoint(path)
    architecture, training = asdict(trained.network.config), asdict(trained.training)
    best = min(trained.history, key=lambda epoch: epoch["validation_loss"])
    document: dict[str, Any] = {
        "kind": "checkpoint",
        "features": list(trained.names),
        "categories": dict(trained.categories),
        "architecture": architecture,
        "training": training,
        "epochs": len(trained.history),
        "validation_loss": best["validation_loss"],
        "provenance": dict(trained.provenance),
    }
    pairs = [
        ("checkpoint", str(path)),
        ("features", _shortened(trained.names)),
        *_categories(trained.categories),
        ("architecture", _listed(architecture)),
        ("training", _listed(training)),
        ("epochs", epochs_line(trained.history, trained.provenance.get("validation_loss_of_mean"))),
        ("provenance", _listed({k: v for k, v in trained.provenance.items() if k not in _TOLD})),
    ]

    def show(out: Console) -> None:
        out.print(facts(pairs if every else [pair for pair in pairs if pair[0] not in _RARE]))
        _tell_more(out, every)

    return Result(document, show)


def _epochs(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a line on the losses of all epochs, if any; a manifest's provenance is untrusted."""
    try:
        return [("epochs", epochs_line(provenance["history"], provenance.get("validation_loss_of_mean")))]
    except (TypeError, KeyError, ValueError):
        return []


def _segments(segments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a line `5, stability 0.93`, if any; segments may have been changed by hand."""
    try:
        index = float(segments["stability"]["adjusted_rand_index"])
        return [("segments", f"{segments['clusters']}, stability {index:.2f} (aetool segment show)")]
    except (TypeError, KeyError, ValueError):
        return []


def _categories(categories: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return a line `job (12), marital (3)`, if any."""
    counted = tuple(f"{name} ({len(texts)})" for name, texts in categories.items())
    return [("categories", _shortened(counted))] if counted else []


def _shortened(names: tuple[str, ...]) -> str:
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else " x ".join(map(str, shape))


def _listed(record: Mapping[str, Any]) -> str:
    """Return `name value, name (name value)`, without defaults."""
    return ", ".join(
        f"{key.replace('_', ' ')} {_text(value)}"
        for key, value in record.items()
        if value not in (None, (), [], {})
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    return "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


@click.command()
@click.argument("bundle", type=options.PATH, required=False)
@reports
def doctor(bundle: Path | None) -> Result:
    """Show what works on this machine.

    Lists the number of threads and the packages, and runs a row on each execution provider, in a process of its
    own. With a BUNDLE, also says whether its tuning file is used here.

    \b
    Example:
      aetool doctor
      aetool doctor exported/machines
    """
    from aetool.checks import doctor as doctors

    if bundle is not None:
        paths.require_bundle(bundle)
    steps().step("running a row on each execution provider")
    findings = list(doctors.examine(bundle=bundle))
    bad = [finding for finding in findings if finding.ok is False]
    marks = {True: Text("ok", "green"), False: Text("bad", "bold red"), None: Text("-", "dim")}
    lines: list[list[str | Text]] = []
    for finding in findings:
        mark = marks[finding.ok] if finding.ok is not None or finding.remedy else ""
        lines.append([mark, Text(finding.what, "dim" if not mark else ""), finding.state])
        lines += [["", "", Text(f"-> {finding.remedy}", "bold")]] if finding.remedy else []

    if bad:
        fail(f"{', '.join(finding.what for finding in bad)}: not in order; the remedies are shown above")
    document = {"healthy": not bad, "findings": [asdict(finding) for finding in findings]}
    return Result(document, lambda out: out.print(table(["", "", ""], lines)), 1 if bad else 0)
