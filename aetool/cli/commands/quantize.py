"""`aetool quantize`."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.choices import CALIBRATIONS, PRECISIONS
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, fail, reports, say, show_facts
from aetool.cli._progress import steps
from aetool.cli._tables import manifest_of, rows_for
from aetool.cli.show.bundle import costs, merits, show_precisions
from aetool.errors import BudgetError


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--data", type=options.PATH, required=True, help="Real rows: a table, or an NPY or NPZ array.")
@options.label
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="int8",
    show_default=True,
    help="int8-dynamic needs no calibration; bf16 only halves the file size.",
)
@click.option(
    "--calibration",
    type=click.Choice(CALIBRATIONS),
    default="minmax",
    show_default=True,
    help="Calibration of int8; the others are tried if the budget is exceeded.",
)
@options.budget
@options.overwrite
@limit(bundle=True)
@reports
def quantize(
    bundle: Path, data: Path, label: str | None, precision: str, calibration: str, overwrite: bool, **limits: Any
) -> Result:
    """Add a precision to a bundle, if it stays within a budget.

    The precision gets its own threshold, which flags as many normal rows as that of fp32. If the budget is
    exceeded, other calibrations are tried, then the most sensitive layers stay in float32. With --label, normal
    rows calibrate, and the AUROC is compared too.

    \b
    Example:
      aetool quantize exported/machines --data machines.csv --label broken --min-speedup 1.2
    """
    paths.require_bundle(bundle)
    from aetool.checks.fidelity import Budget
    from aetool.checks.first_run import require_first_run

    budget = Budget(**limits)
    steps().step(f"reading {data.name}")
    table = rows_for(manifest_of(bundle), data, label=label)
    steps().step("running the bundle in a process of its own")
    require_first_run(bundle)
    with needs("train", "quantizing"):
        from aetool.quantize import QuantizeOptions
        from aetool.quantize import quantize as add
    try:
        made = add(
            bundle,
            table.values,
            table.labels,
            precision=precision,  # type: ignore[arg-type]
            options=QuantizeOptions(calibration=calibration, overwrite=overwrite),  # type: ignore[arg-type]
            budget=budget,
            progress=steps().step,
            limits=limits_in_force(),
        )
    except BudgetError as error:
        fail(str(error))
        refusal = {"bundle": str(bundle), "precision": precision, "added": False}
        return Result({**refusal, "reason": str(error), "tried": list(error.tried)}, lambda out: None, exit_code=1)
    steps().done(f"{precision} measured and added")
    for attempt in made.tried:
        say(f"tried {attempt}")
    manifest = made.bundle.manifest
    document = {
        "bundle": str(bundle),
        "precision": precision,
        "added": True,
        "threshold": made.variant.threshold,
        "files": {name: manifest.files[name].size for name in made.variant.files.values()},
        **{key: value for key, value in made.figures.items() if key != "threshold"},
    }

    def show(out: Console) -> None:
        show_precisions(out, manifest)
        out.print()
        gains = merits(made.variant)
        use = f"aetool.load({str(bundle)!r}, precision={precision!r})"
        pairs = [("added", f"{precision}, beside fp32: {gains}"), *costs(made.variant)]
        if "faster" not in gains:
            pairs.append(("use it", "only where its size matters: it is not faster here"))
        show_facts(out, pairs, use)

    return Result(document, show)
