"""Options that say what a threshold is chosen for, and what it does in words: of `calibrate` and `feedback`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli._output import say

goals = options.several(
    ("--false-alarms", options.Share(), "At most this share of normal rows is flagged."),
    ("--recall", options.Share(), "At least this share of anomalies is flagged; needs --label."),
    ("--cost-false-alarm", float, "Cost of a false alarm; with --cost-miss, the lowest cost; needs --label."),
    ("--cost-miss", float, "Cost of a missed anomaly."),
    ("--fdr", options.Share(), "At most this share of flagged rows is normal; needs --label."),
    ("--threshold", options.ScoreNumber(), "The threshold itself; needs no rows."),
)
"""Add the options that become a goal; see `goal_of`."""


def goal_of(given: Mapping[str, Any]) -> Any:
    """Return the `aetool.decisions.Goal` of the options `goals`.

    Raises:
        UsageError: none, or more than one.
        InputError: out of range.
    """
    from aetool.decisions import Goal

    costs = given["cost_false_alarm"], given["cost_miss"]
    if (costs[0] is None) != (costs[1] is None):
        raise click.UsageError("--cost-false-alarm and --cost-miss go together; give both")
    chosen = {name: value for name, value in given.items() if value is not None and not name.startswith("cost_")}
    if costs[0] is not None:
        chosen["costs"] = costs
    if len(chosen) != 1:
        raise click.UsageError(
            "give one goal: --false-alarms, --recall, --cost-false-alarm with --cost-miss, --fdr or --threshold"
        )
    return Goal(**chosen)


def outcome_pairs(outcome: Any, rate: float | None) -> list[tuple[str, str]]:
    """Return what a threshold does, each share with its interval; `rate` is the rate of false alarms asked for."""
    names = (
        ("false alarms", outcome.false_alarms, "normal rows"),
        ("recall", outcome.recall, "anomalies"),
        ("normal among flagged", outcome.flagged_normal, "flagged rows"),
    )
    pairs = [
        (name, f"{part.share:.2%} of {part.rows:,} {rows} (95 %: {part.low:.2%} to {part.high:.2%})")
        for name, part, rows in names
        if part is not None
    ]
    if rate is not None and outcome.needed_rows is not None and outcome.false_alarms.rows < outcome.needed_rows:
        bounds = f"{50 * rate:.3g}% to {150 * rate:.3g}%"
        pairs.insert(1, ("to be surer", f"{outcome.needed_rows:,} normal rows narrow that to about {bounds}"))
    if outcome.expected is not None:
        pairs.insert(1, ("of the next 1,000", "{} to {} normal rows flagged (95 %)".format(*outcome.expected)))
    return pairs


def tell_published(made: Any, replaced: Path | None) -> None:
    """Print what a new bundle has lost: its signature, and the tuning file beside `replaced`."""
    from aetool.bundle.bundle import tuning_file

    if made.was_signed:
        say(f"The signature does not cover the new bundle: aetool sign {made.bundle.where} --private-key FILE")
    if replaced is not None and os.path.lexists(tuning_file(replaced)):
        say("The tuning file was made with the bundle before, and is ignored now; rerun aetool tune.")
