"""`aetool deploy`."""

import shlex
from pathlib import Path
from typing import Any

import click

from aetool.bundle.manifest import GRAPHS, SEGMENTER
from aetool.choices import ENGINES
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, reports, show_facts
from aetool.cli._progress import steps
from aetool.cli._tables import rows_for
from aetool.errors import OutputError

TARGETS = ("web", "node", "c", "mobile", "triton")
_ONLY = {"single_file": "web", "onnxruntime_web": "web", "graphs": "c"}
_ONLY |= dict.fromkeys(("data", "label", "flash", "ram"), "c")
"""Option -> the only target that takes it."""
_PRECISIONS = {"fp32": ("c", "web", "node"), "int8": ("c",), "bf16": ("web", "node")}
"""Precision -> targets that take it."""


@click.command()
@click.argument("target", type=click.Choice(TARGETS))
@click.argument("bundle", type=options.PATH)
@options.output("Directory to write.  [default: deployed/NAME-TARGET]")
@click.option("--single-file", is_flag=True, help="web: one HTML file that opens from the disk.")
@click.option(
    "--onnxruntime-web",
    type=options.PATH,
    metavar="DIR",
    help="web: the npm package onnxruntime-web, unpacked.  [default: ./node_modules, or fetched once by npm]",
)
@click.option(
    "--graph",
    "graphs",
    type=click.Choice([*GRAPHS, SEGMENTER]),
    multiple=True,
    help="c: what to generate code for; may be repeated.  [default: detector, explainer]",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="web, node: what computes.  [default: core, aetool's own, for dense networks]",
)
@click.option(
    "--precision",
    type=click.Choice(tuple(_PRECISIONS)),
    help="c: int8 puts the layers into integers, for microcontrollers; web, node: bf16 halves the weights, "
    "after aetool quantize --precision bf16.  [default: fp32]",
)
@click.option(
    "--data", type=options.PATH, help="c: rows that calibrate and judge int8.  [default: the golden rows]"
)
@options.label
@options.accuracy
@click.option("--flash", type=options.Bytes(), help="c: bytes of flash there are, such as 300k.")
@click.option("--ram", type=options.Bytes(), help="c: bytes of memory there are, such as 8k.")
@click.option("--dry-run", is_flag=True, help="Make everything, write nothing.")
@options.overwrite
@limit(bundle=True)
@reports
def deploy(target: str, bundle: Path, output: Path | None, dry_run: bool, overwrite: bool, **given: Any) -> Result:
    """Export a bundle for browsers, Node, C, phones or Triton.

    TARGET is web (a static page and a JavaScript module), node (an npm package), c (C99 without any library),
    mobile (ORT format, for Android, iOS and C#) or triton (a model repository). Each brings the bundle's golden
    rows, so that it can be checked where it runs.

    \b
    Examples:
      aetool deploy web exported/breast-cancer -o site
      aetool deploy c exported/breast-cancer --precision int8 --flash 32k --ram 2k
    """
    from aetool.bundle.atomic import publish_directory, publish_file, require_new
    from aetool.bundle.bundle import Bundle

    if given["engine"] and target not in ("web", "node"):
        raise click.UsageError("--engine is for web and node only")
    for name, only in _ONLY.items():
        if given[name] and target != only:
            raise click.UsageError(f"--{name.replace('_', '-').replace('graphs', 'graph')} is for {only} only")
    if (precision := given["precision"]) and target not in _PRECISIONS[precision]:
        raise click.UsageError(f"--precision {precision} is for {' and '.join(_PRECISIONS[precision])} only")
    paths.require_bundle(bundle)
    single = given["single_file"]
    output = output or Path("deployed") / f"{bundle.name}-{target}{'.html' if single else ''}"
    if single and output.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{output}: --single-file writes one page; choose a name that ends in .html")
    if not dry_run:
        require_new(output, overwrite)
    steps().step("checking every file's hash")
    made = _made(target, Bundle.open_whole(bundle, limits=limits_in_force()), given)
    steps().step(f"writing {output}")
    if not dry_run:
        if single:
            publish_file(output, made.files["index.html"], overwrite=overwrite)
        else:
            publish_directory(output, made.files, overwrite=overwrite)
    step = made.next_step.format(output=shlex.quote(str(output)))
    document = {
        "target": target,
        "output": None if dry_run else str(output),
        "files": {name: len(content) for name, content in made.files.items()},
        "bytes": made.size,
        "figures": made.figures,
        "next": step,
    }
    pairs = [
        ("target", f"{target}: {output}{' (not written: --dry-run)' if dry_run else ''}"),
        ("size", f"{made.size / 1e6:.2f} MB in {len(made.files)} file{'s' if len(made.files) > 1 else ''}"),
        *((name, _text(value)) for name, value in made.figures.items()),
    ]
    return Result(document, lambda out: show_facts(out, pairs, step))


def _made(target: str, bundle: Any, given: dict[str, Any]) -> Any:
    """Make the target, importing its module alone: a page can be made where onnx is not installed."""
    with needs("deploy", f"deploying to {target}"):
        if target == "web":
            from aetool.deploy.web import web, web_page

            steps().step("making the page")
            make = web_page if given["single_file"] else web
            return make(bundle, given["onnxruntime_web"], given["engine"], given["precision"] or "fp32")
        if target == "node":
            from aetool.deploy.node import node

            steps().step("making the package")
            return node(bundle, given["engine"], given["precision"] or "fp32")
        if target == "c":
            return _in_c(bundle, given)
        if target == "mobile":
            from aetool.deploy.mobile import mobile

            steps().step("converting to ORT format")
            return mobile(bundle)
        from aetool.deploy.triton import triton

        steps().step("making the repository")
        return triton(bundle)


def _in_c(bundle: Any, given: dict[str, Any]) -> Any:
    from aetool.checks.fidelity import Budget
    from aetool.deploy.c import COptions, c

    int8 = given["precision"] == "int8"
    if given["data"] and not int8:
        raise click.UsageError("--data is for --precision int8 only")
    rows = labels = None
    if given["data"]:
        steps().step(f"reading {given['data'].name}")
        table = rows_for(bundle.manifest, given["data"], label=given["label"])
        rows, labels = table.values, table.labels
    steps().step("generating C")
    budget = Budget(given["max_auroc_drop"], given["max_flips"])
    options = COptions(int8, rows, labels, budget, given["flash"], given["ram"])
    return c(bundle, given["graphs"], options)


def _text(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(part if isinstance(part, str) else f"{key} {part:,}" for key, part in value.items())
