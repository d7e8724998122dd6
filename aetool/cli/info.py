"""`aetool info` and `aetool doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from aetool.cli import options
from aetool.cli.extras import needs
from aetool.cli.output import Result, facts, reports


@click.command()
@click.argument("path", type=options.PATH)
@reports
def info(path: Path) -> Result:
    """What a bundle or a checkpoint is.

    \b
    Example:
      aetool info exported/machines
    """
    from aetool.bundle import MANIFEST, Bundle

    if path.is_dir() and not (path / MANIFEST).exists() and (path / "checkpoint.json").exists():
        return _checkpoint(path)
    manifest = Bundle.open(path).manifest
    variant = manifest.variants["fp32"]
    sizes = ", ".join(f"{name} {record.size:,} B" for name, record in manifest.files.items())
    pairs = [
        ("bundle", f"{manifest.name} (format {manifest.format_version}, {manifest.created})"),
        ("id", manifest.id[:16]),
        ("features", f"{len(manifest.features)}: {_shortened(manifest.feature_names)}"),
        ("embedding", str(manifest.embedding_dim)),
        ("graphs", ", ".join(variant.files)),
        ("precisions", ", ".join(manifest.variants)),
        ("score", str(manifest.score.get("definition", ""))),
        ("threshold", f"{variant.threshold:.6g} ({manifest.threshold.get('method', '')})"),
        ("opset", f"{manifest.opset}, IR {manifest.ir_version}"),
        ("made with", ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items())),
        ("files", sizes),
    ]
    return Result(asdict(manifest), lambda out: out.print(facts(pairs)))


def _checkpoint(path: Path) -> Result:
    with needs("train", "reading a checkpoint"):
        from aetool.model import load_checkpoint
    trained = load_checkpoint(path)
    config = trained.network.config
    best = min(trained.history, key=lambda epoch: epoch["validation_loss"])
    document: dict[str, Any] = {
        "features": list(trained.names),
        "architecture": asdict(config),
        "training": asdict(trained.training),
        "epochs": len(trained.history),
        "validation_loss": best["validation_loss"],
        "provenance": dict(trained.provenance),
    }
    pairs = [
        ("checkpoint", str(path)),
        ("features", f"{len(trained.names)}: {_shortened(trained.names)}"),
        ("architecture", ", ".join(f"{key} {value}" for key, value in asdict(config).items())),
        ("training", ", ".join(f"{key} {value}" for key, value in asdict(trained.training).items())),
        ("epochs", f"{len(trained.history)}, best validation loss {best['validation_loss']:.4f}"),
        ("provenance", ", ".join(f"{key} {value}" for key, value in trained.provenance.items())),
    ]
    return Result(document, lambda out: out.print(facts(pairs)))


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, ..."


@click.command()
@reports
def doctor() -> Result:
    """What works on this machine: packages, and each execution provider tried with a row.

    \b
    Example:
      aetool doctor
    """
    from aetool import doctor as doctors

    findings = list(doctors.examine())
    healthy = doctors.healthy(findings)

    def show(out: Console) -> None:
        marks = {True: "[green]ok[/] ", False: "[red]bad[/]", None: "   "}
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            out.print(f"{marks[finding.ok]} {finding.what:<{width}}  {escape(finding.state)}", soft_wrap=True)
            if finding.remedy:
                out.print(f"    {'':<{width}}  remedy: {escape(finding.remedy)}", soft_wrap=True)

    document = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
    return Result(document, show, exit_code=0 if healthy else 1)
