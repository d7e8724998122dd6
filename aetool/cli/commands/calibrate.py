"""`aetool calibrate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._goals import goal_of, goals, outcome_pairs, tell_published
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say, table
from aetool.cli._progress import steps
from aetool.cli._tables import as_float32, as_read, check_rows, is_log, log_of, manifest_of, was_trained_on
from aetool.cli.show.bundle import row_threshold

_TRAINED_ON = (
    "the model knows rows that it was trained on: new rows raise more false alarms than these; give others"
)


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option(
    "--data", type=options.PATH, help="Rows that the model was not trained on: a table, or an NPY or NPZ array."
)
@options.label
@goals
@click.option("--per-segment", is_flag=True, help="Also choose a threshold per segment.")
@click.option("--probability", is_flag=True, help="Also fit the probability of an anomaly; needs --label.")
@options.output("Bundle to write.  [default: BUNDLE, replaced in one step]")
@options.overwrite
@limit(bundle=True)
@reports
def calibrate(
    bundle: Path,
    data: Path | None,
    label: str | None,
    per_segment: bool,
    probability: bool,
    output: Path | None,
    overwrite: bool,
    **given: Any,
) -> Result:
    """Set a bundle's threshold for a rate of false alarms, a recall or a cost.

    Give normal rows from the place where the model runs; with --label, labelled ones. PyTorch is not needed. The
    threshold of every precision is chosen on these rows, and their scores are kept in the bundle for p-values. The
    bundle is published with a new id. The output says how sure the rate is: its exact 95 % interval, and how many
    rows would narrow that to half the rate and 1.5 times.

    If rows of a log have a threshold of their own, it moves along: the same share of normal rows stays above it as
    of windows above theirs.

    \b
    Example:
      aetool calibrate exported/machines --data normal.csv --false-alarms 1%
      aetool calibrate exported/machines --data test.csv --label broken --recall 95% -o exported/machines-95
      aetool calibrate exported/machines --threshold 0.42
    """
    from aetool.bundle.atomic import require_new
    from aetool.decisions import calibrate as calibrate_bundle

    paths.require_bundle(bundle)
    goal = goal_of(given)
    if output is not None:
        require_new(output, overwrite)
    rows = labels = row_scores = None
    if data is not None:
        manifest = manifest_of(bundle)
        check_rows(manifest, data, label=label)
        steps().step(f"reading {data.name}")
        found = as_read(manifest, data, label=label)
        read = as_float32(found)
        rows, labels = read.values, read.labels
        if was_trained_on(manifest, found):
            say(f"{data.name}: {_TRAINED_ON}")
        elif is_log(manifest, data) and data.name == manifest.provenance.get("data"):
            say(f"{data.name}, if it is the log of training, which has that name: {_TRAINED_ON}")
        if is_log(manifest, data) and manifest.row_threshold("fp32") is not None:
            row_scores = _row_scores(bundle, log_of(manifest, data, label=label))
    elif goal.threshold is None:
        raise click.UsageError("rows are needed to choose a threshold with; give --data")
    steps().step("choosing the threshold" if rows is None else f"scoring {len(rows):,} rows")
    made = calibrate_bundle(
        bundle,
        rows,
        labels,
        goal=goal,
        output=output,
        overwrite=overwrite,
        source="" if data is None else data.name,
        probability=probability,
        per_segment=per_segment,
        row_scores=row_scores,
        limits=limits_in_force(),
    )
    manifest = made.bundle.manifest
    if made.drift:
        say(
            f"These rows differ from those that the model was made for: {'; '.join(made.drift[:2])}. The "
            "threshold fits them now; aetool evaluate tells whether the model does."
        )
    tell_published(made, bundle if output is None else None)
    threshold = manifest.variants["fp32"].threshold
    document = {
        "bundle": made.bundle.where,
        "id": manifest.id,
        "from": manifest.provenance["calibrated_from"],
        "threshold": threshold,
        "before": made.before,
        "row_threshold": manifest.row_threshold("fp32"),
        "thresholds": {name: variant.threshold for name, variant in manifest.variants.items()},
        "goal": manifest.calibration["goal"],
        **({} if made.outcome is None else asdict(made.outcome)),
        "scores": manifest.calibration.get("scores", 0),
        "segments": made.segments,
        "drift": made.drift,
        "was_signed": made.was_signed,
    }

    def show(out: Console) -> None:
        pairs = [("threshold", f"{threshold:.6g} (before: {made.before:.6g})"), *row_threshold(manifest)]
        if made.outcome is not None:
            pairs += outcome_pairs(made.outcome, goal.false_alarms)
            pairs.append(
                (
                    "p-values",
                    f"from {document['scores']:,} scores of normal rows" if document["scores"] else "none",
                )
            )
        out.print(facts([*pairs, ("bundle", f"{made.bundle.where}, id {manifest.id[:12]}")]))
        if made.segments:
            out.print()
            out.print(
                table(
                    *_segments(made.segments), right=("rows", "threshold", "false alarms", "with the common one")
                )
            )

    return Result(document, show)


def _row_scores(bundle: Path, log: Any) -> Any:
    """Return the scores of the normal rows of a log, ascending."""
    from aetool import load
    from aetool.stream.logs import normal_row_scores

    steps().step("scoring the rows of the log")
    with load(bundle, provider="cpu", precision="fp32", limits=limits_in_force()) as model:
        return normal_row_scores(model, log)


def _segments(segments: Any) -> tuple[tuple[str, ...], list[list[str]]]:
    names = ("segment", "rows", "threshold", "false alarms", "with the common one", "")
    lines = []
    for each in segments:
        shares = [each["false_alarms"], each["false_alarms_of_common"]]
        after, before = ("" if part is None else f"{part['share']:.2%}" for part in shares)
        note = "too few rows: the common threshold" if each["too_few"] else ""
        lines.append([str(each["segment"]), f"{each['rows']:,}", f"{each['threshold']:.6g}", after, before, note])
    return names, lines
