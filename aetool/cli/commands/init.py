"""`aetool init`."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._config_file import template
from aetool.cli._options import needs
from aetool.cli._output import Result, reports, show_facts
from aetool.cli.commands.train import train

EXAMPLES = {
    "output": "checkpoint",
    "label": "broken",
    "drop": ["id"],
    "columns": ["age", "income"],
    "categorical": ["auto"],
    "normal": ["ok"],
    "anomaly": ["fault"],
    "na": ["-999"],
    "sep": ";",
    "decimal": ",",
    "encoding": "cp1252",
    "header": False,
    "window": 64,
    "stride": 8,
    "time": "time",
    "group": "machine",
    "every": "1s",
    "gap": "10s",
    "sort": True,
    "label_share": 0.5,
    "impute": "median",
    "hidden_dims": [64],
    "embedding_dim": 16,
    "epochs": 100,
    "validation_fraction": 0.1,
}
"""Example values of options without a default that suits every table."""
RULES = {
    "hidden_dims": "none",
    "embedding_dim": "half the columns, at least 128, at most 4 times the columns; each category is a column",
    "epochs": "enough for 600 steps of batch_size rows, at least 10",
    "validation_fraction": "a tenth of the rows; below 1,000 rows a quarter, at most 100 rows",
}
"""Rules that apply instead of a default, as `AutoencoderConfig.for_width` and `TrainingConfig` have them."""


@click.command()
@click.argument("file", type=options.PATH, default="aetool.toml")
@options.overwrite
@reports
def init(file: Path, overwrite: bool) -> Result:
    """Write a file of training options to edit.

    FILE is aetool.toml by default. It has every option with its meaning and default, commented out. Uncomment
    what you want to change, and pass the file to aetool train --config. Options on the command line take
    precedence.

    \b
    Example:
      aetool init
    """
    from aetool.bundle.atomic import publish_file

    paths.require_new_file(file, overwrite)
    publish_file(file, template(train, defaults(), EXAMPLES, RULES).encode(), overwrite=overwrite)
    again = f"aetool train TABLE --config {shlex.quote(str(file))}"
    document = {"config": str(file), "next": again}
    return Result(document, lambda out: show_facts(out, [("written", str(file))], again))


def defaults() -> dict[str, Any]:
    """Return the defaults of training and architecture that are the same for every table."""
    with needs("train", "training"):
        from aetool.model import AutoencoderConfig, TrainingConfig
    values = {
        entry.name: entry.default for config in (AutoencoderConfig, TrainingConfig) for entry in fields(config)
    }
    return {name: value for name, value in values.items() if name not in EXAMPLES}
