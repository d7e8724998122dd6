"""`aetool demo`: train, export, verify and run on a real table, step by step."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from aetool.bundle.atomic import require_new
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import needs
from aetool.cli._output import Result, file_sizes, reports, results
from aetool.cli._progress import steps
from aetool.cli.show.bundle import show_worst
from aetool.errors import OutputError

_BARS = "▁▂▃▄▅▆▇█"
_LATENCY_ROUNDS, _LATENCY_ROWS = 7, 200


@click.command()
@options.output(help="Directory to write.  [default: aetool-demo]")
@options.overwrite
@reports
def demo(output: Path | None, overwrite: bool) -> Result:
    """Train, export, verify and run an autoencoder.

    Uses scikit-learn's breast-cancer table. The model learns from benign tumours; the malignant ones are the
    anomalies to find.

    \b
    Example:
      aetool demo -o my-demo
    """
    import numpy as np

    from aetool import load
    from aetool.checks.verify import verify_bundle

    started = time.perf_counter()
    folder = output or Path("aetool-demo")
    require_new(folder, overwrite)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file exists there and is not replaced; choose another name")
    paths.require_free(folder / "checkpoint", overwrite, paths.CHECKPOINT)
    paths.require_free(folder / "bundle", overwrite, paths.BUNDLE)
    with needs("train", "the demo"):
        from sklearn.datasets import load_breast_cancer

        from aetool import model
        from aetool.checks.evaluation import evaluate
        from aetool.export import ExportOptions, export_checkpoint
        from aetool.tables import read_table, write_table
    steps().step("writing the table", stays=False)
    show = _Headings(results())

    data = load_breast_cancer()
    malignant = data.target == 0
    # Half of the benign rows to learn from; the other half and the malignant ones to be judged on.
    learn = np.flatnonzero(~malignant)[: int((~malignant).sum()) // 2]
    judge = np.setdiff1d(np.arange(len(malignant)), learn)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train.csv", learn), ("test.csv", judge)):
        columns = dict(zip(data.feature_names, data.data[rows].T, strict=True))
        write_table(folder / name, {**columns, "malignant": malignant[rows]}, overwrite=overwrite)
    show.step(
        "A table: scikit-learn's breast-cancer",
        f"{len(data.feature_names)} columns; {len(learn)} benign rows to learn from, "
        f"{len(judge)} others, {malignant.sum()} of them malignant, to be judged on",
    )

    steps().step("training", stays=False)
    trained = model.train(
        read_table(folder / "train.csv", label="malignant"),
        progress=lambda epoch: steps().update(f"epoch {epoch.number} of {epoch.of}", epoch.number / epoch.of),
    )
    model.save_checkpoint(trained, folder / "checkpoint", overwrite=overwrite)
    losses = [epoch["validation_loss"] for epoch in trained.history]
    config = trained.network.config
    show.step(
        f"Train with dropout {config.dropout:g}: {config.n_features}-{config.embedding_dim}-{config.n_features}",
        f"{len(losses)} epochs, validation loss {losses[0]:.3f} {sparkline(losses)} {min(losses):.3f}",
    )

    steps().step("exporting", stays=False)
    chosen = ExportOptions(name="breast-cancer", overwrite=overwrite, progress=steps().update)
    exported = export_checkpoint(trained, folder / "bundle", chosen)
    sizes = {name: record.size for name, record in exported.bundle.manifest.files.items()}
    show.step("Switch to eval mode, export to ONNX, compare with PyTorch in float64")
    show_worst(show.out, exported.parity)

    steps().step("verifying", stays=False)
    verified = verify_bundle(folder / "bundle")
    show.step("Verify the bundle: every file's hash, golden vectors through ONNX Runtime")
    show.tell(f"{len(sizes)} files unchanged, {len(verified)} outputs compared: passed", file_sizes(sizes))

    steps().step("scoring", stays=False)
    test = read_table(folder / "test.csv", label="malignant")
    features = test.values.astype(np.float32)
    session = load(folder / "bundle")
    in_torch = asdict(evaluate(trained, features, test.labels, session.threshold))
    in_bundle = asdict(evaluate(session, features, test.labels, session.threshold))
    show.step(
        "Run it without PyTorch, on rows it never saw",
        f"AUROC {in_bundle['auroc']:.4f} (PyTorch: {in_torch['auroc']:.4f}); at its threshold it finds "
        f"{in_bundle['recall']:.0%} of the malignant rows and flags {in_bundle['false_positive_rate']:.0%} of the "
        "benign ones",
    )

    steps().step("timing", stays=False)
    latency = _one_row_latency(trained, session, features)
    show.step(
        "Time one row, in this process and taking turns",
        f"PyTorch {latency['torch_us']:.1f} us, aetool {latency['aetool_us']:.1f} us: "
        f"{latency['torch_us'] / latency['aetool_us']:.1f} times faster",
    )
    seconds = time.perf_counter() - started
    document = {
        "bundle": str(folder / "bundle"),
        "seconds": seconds,
        "epochs": len(losses),
        "evaluation": in_bundle,
        "auroc_torch": in_torch["auroc"],
        "max_scaled_difference": max(record.max_scaled for record in exported.parity),
        "verified": all(record.passed for record in verified),
        "files": sizes,
        "latency": latency,
    }

    def close(out: Console) -> None:
        out.print(f"\nDone in {seconds:.0f} s. {folder} holds the tables, the checkpoint and the bundle:\n")
        out.print("import aetool", style="green")
        out.print(f'model = aetool.load("{folder / "bundle"}")', style="green", soft_wrap=True)
        out.print("model.score(rows)  # (n, 30), in the units of the table", style="green")

    return Result(document, close)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return the values as one line of block characters, thinned to `width`."""
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


class _Headings:
    """Numbered headings, each with its result."""

    def __init__(self, out: Console) -> None:
        self.out, self.number = out, 0

    def step(self, heading: str, *lines: str) -> None:
        self.number += 1
        self.out.print(Text.assemble("\n", (f"{self.number}. ", "bold cyan"), (heading, "bold")))
        self.tell(*lines)

    def tell(self, *lines: str) -> None:
        for line in lines:
            self.out.print(Padding(line, (0, 0, 0, 3)))


def _one_row_latency(trained: Any, session: Any, features: Any) -> dict[str, float]:
    """Return the median microseconds of one score in PyTorch (eager, tensors made beforehand) and the runtime."""
    pipeline = trained.pipeline().requires_grad_(False)
    rows = [features[i : i + 1] for i in range(_LATENCY_ROWS)]
    tensors = [next(pipeline.parameters()).new_tensor(row) for row in rows]
    taken: dict[str, list[float]] = {"torch_us": [], "aetool_us": []}
    for _ in range(_LATENCY_ROUNDS):
        for name, score, given in (("torch_us", pipeline, tensors), ("aetool_us", session.score, rows)):
            times = []
            for row in given:
                begin = time.perf_counter_ns()
                score(row)
                times.append(time.perf_counter_ns() - begin)
            taken[name].append(statistics.median(times) / 1000)
    return {name: statistics.median(medians) for name, medians in taken.items()}
