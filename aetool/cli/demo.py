"""`aetool demo`: the whole way on a real table, step by step."""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options
from aetool.cli.export import parity_table
from aetool.cli.extras import needs
from aetool.cli.output import Result, console, facts, reports

BARS = "▁▂▃▄▅▆▇█"
LATENCY_ROUNDS, LATENCY_RUNS = 7, 200


@click.command()
@options.output(help="Directory to write.  [default: aetool-demo]")
@options.overwrite
@reports
def demo(output: Path | None, overwrite: bool) -> Result:
    """Train, export, verify and run an autoencoder on scikit-learn's breast-cancer table.

    It learns from benign tumours; malignant ones are the anomalies it has to find.

    \b
    Example:
      aetool demo -o my-demo
    """
    import numpy as np

    import aetool
    from aetool.storage import require_new

    with needs("train", "the demo"):
        from sklearn.datasets import load_breast_cancer

        from aetool import evaluation, model
        from aetool.export import export_checkpoint
        from aetool.selftest import verify_bundle
        from aetool.tables import table_from_columns, write_table
    folder = output or Path("aetool-demo")
    require_new(folder, overwrite)
    note = console(stderr=True) if "--json" in sys.argv else console()
    started = time.perf_counter()

    data = load_breast_cancer()
    columns = dict(zip(map(str, data.feature_names), data.data.T, strict=True))
    malignant = data.target == 0
    # Half of the benign rows to learn from; the other half and the malignant ones to be judged on.
    learn = np.flatnonzero(~malignant)[: int((~malignant).sum()) // 2]
    judge = np.setdiff1d(np.arange(len(malignant)), learn)
    train_table = table_from_columns({k: v[learn] for k, v in columns.items()}, source="breast-cancer")
    test = {**{k: v[judge] for k, v in columns.items()}, "malignant": malignant[judge]}
    _step(note, 1, f"A table: {len(columns)} columns, {len(learn)} benign rows to learn from")
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "train.csv", {k: v[learn] for k, v in columns.items()}, overwrite=overwrite)
    write_table(folder / "test.csv", test, overwrite=overwrite)

    trained = model.train(train_table)
    model.save_checkpoint(trained, folder / "checkpoint", overwrite=overwrite)
    losses = [epoch["validation_loss"] for epoch in trained.history]
    shape = f"{trained.network.config.n_features}-{trained.network.config.embedding_dim}"
    _step(note, 2, f"Trained with dropout: {shape}-{trained.network.config.n_features}, {len(losses)} epochs")
    note.print(f"   validation loss {losses[0]:.3f} {sparkline(losses)} {min(losses):.3f}")

    exported = export_checkpoint(trained, folder / "bundle", _export_options(overwrite))
    _step(note, 3, "Switched to eval mode, exported to ONNX, compared with PyTorch in float64")
    note.print(parity_table(exported.parity))

    verified = verify_bundle(folder / "bundle")
    _step(note, 4, f"Verified: {len(exported.bundle.manifest.files)} files unchanged, golden vectors agree")
    sizes = {name: record.size for name, record in exported.bundle.manifest.files.items()}
    note.print("   " + ", ".join(f"{name} {size / 1024:.1f} KiB" for name, size in sizes.items()))

    session = aetool.load(folder / "bundle")
    rows = np.stack([test[name] for name in columns], axis=1).astype(np.float32)
    in_torch = evaluation.evaluate(trained, rows, malignant[judge], session.threshold)
    in_bundle = evaluation.evaluate(session, rows, malignant[judge], session.threshold)
    _step(note, 5, f"Run without PyTorch on {len(rows)} rows it never saw")
    assert in_bundle.auroc is not None and in_torch.auroc is not None and in_bundle.recall is not None
    note.print(
        f"   AUROC {in_bundle.auroc:.4f} (PyTorch {in_torch.auroc:.4f}); finds {in_bundle.recall:.0%} of the "
        f"malignant rows, flags {in_bundle.false_positive_rate:.1%} of the benign ones"
    )

    latency = _one_row_latency(trained, session, rows)
    _step(note, 6, "One row, median of rounds that take turns in this process")
    note.print(
        f"   PyTorch {latency['torch_us']:.1f} us, aetool {latency['aetool_us']:.1f} us: "
        f"{latency['torch_us'] / latency['aetool_us']:.1f} times as fast"
    )
    document = {
        "bundle": str(folder / "bundle"),
        "seconds": time.perf_counter() - started,
        "epochs": len(losses),
        "evaluation": asdict(in_bundle),
        "auroc_torch": in_torch.auroc,
        "max_scaled_difference": max(record.max_scaled for record in exported.parity),
        "verified": all(record.passed for record in verified),
        "files": sizes,
        "latency": latency,
    }

    def show(out: Console) -> None:
        out.print()
        out.print(facts([("left in", str(folder)), ("took", f"{document['seconds']:.0f} s")]))
        out.print("\nUse it from Python:\n", style="bold")
        out.print("import aetool", markup=False)
        out.print(f'model = aetool.load("{folder / "bundle"}")', markup=False, soft_wrap=True)
        out.print("model.score(rows)  # rows: (n, 30), in the units of the table", markup=False)

    return Result(document, show)


def sparkline(values: list[float], width: int = 40) -> str:
    """The values as one line of block characters, thinned to `width`."""
    picked = (
        [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
        if len(values) > width
        else values
    )
    low, high = min(picked), max(picked)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in picked)


def _export_options(overwrite: bool) -> Any:
    from aetool.export import ExportOptions

    return ExportOptions(name="breast-cancer", overwrite=overwrite)


def _one_row_latency(trained: Any, session: Any, rows: Any) -> dict[str, float]:
    """Median microseconds for one score in PyTorch (eager, one thread) and in the runtime."""
    import statistics

    import torch

    pipeline = trained.pipeline()
    single = [rows[i : i + 1] for i in range(min(len(rows), LATENCY_RUNS))]

    def in_torch(row: Any) -> None:
        pipeline(torch.from_numpy(row))

    taken: dict[str, list[float]] = {"torch_us": [], "aetool_us": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(LATENCY_ROUNDS):
            for name, run in (("torch_us", in_torch), ("aetool_us", session.score)):
                times = []
                for row in single:
                    begin = time.perf_counter_ns()
                    run(row)
                    times.append((time.perf_counter_ns() - begin) / 1000)
                taken[name].append(statistics.median(times))
    torch.set_num_threads(threads)
    return {name: statistics.median(values) for name, values in taken.items()}


def _step(out: Console, number: int, text: str) -> None:
    out.print(f"\n[bold cyan]{number}.[/] [bold]{text}[/]")
