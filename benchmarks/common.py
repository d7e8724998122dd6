"""What every benchmark shares: contestants in processes of their own, results."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bench._machine import machine
from aetool.bundle.schema import to_plain

RESULTS = Path(__file__).parent / "results"


def save(name: str, parameters: dict[str, Any], results: Any) -> Path:
    """Write results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": to_plain(machine()),
        "parameters": parameters,
        "results": results,
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def contestant(script: str, name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run `script --contestant NAME` in a process of its own; the JSON that it prints last."""
    command = [sys.executable, script, *arguments, "--contestant", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parser(description: str | None, contestants: Sequence[str] = ()) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    if contestants:
        made.add_argument("--contestant", choices=contestants, help=argparse.SUPPRESS)
    return made


def semi_supervised(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Training rows, test rows and test labels of an NPZ file with X and y (1 = anomaly).

    The first half of the normal rows, in file order, is for training; the rest and every anomaly is the test.
    """
    with np.load(path, allow_pickle=False) as archive:
        values, labels = archive["X"].astype(np.float64), archive["y"].astype(bool)
    normal = np.flatnonzero(~labels)
    training = normal[: len(normal) // 2]
    test = np.setdiff1d(np.arange(len(labels)), training)
    return values[training], values[test], labels[test]


class Judged(NamedTuple):
    """A model of the first half of the normal rows, exported, and the rows to judge it on."""

    table: Any
    trained: Any
    exported: Any
    test: NDArray[Any]
    labels: NDArray[np.bool_]


def judged(path: Path, seed: int, folder: Path) -> Judged:
    """Train with default options on an NPZ file that `semi_supervised` reads, and export into `folder`."""
    from aetool import model
    from aetool.export import export_checkpoint
    from aetool.tables import table_from_columns

    training, test, labels = semi_supervised(path)
    table = table_from_columns({f"X_{i}": column for i, column in enumerate(training.T)}, source=path.name)
    trained = model.train(table, model.TrainingConfig(seed=seed))
    return Judged(table, trained, export_checkpoint(trained, folder / f"{path.stem}-{seed}"), test, labels)


def of_every_table(
    name: str,
    description: str | None,
    measure: Callable[[Path, int, Path], dict[str, Any]],
    summary: Callable[[str, list[dict[str, Any]]], Any],
) -> None:
    """Measure the tables of the command line with seeds 0 to 2, and save what `summary` makes of each."""
    arguments = parser(description)
    arguments.add_argument("data", type=Path, nargs="+")
    options = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in options.data:
            rounds = [measure(path, seed, Path(folder)) for seed in range(3)]
            results[path.stem] = summary(path.stem, rounds)
    save(name, {"data": [path.name for path in options.data]}, results)
