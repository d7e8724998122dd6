"""How often the proof of an export is wrong: honest modules that it refuses, faulty ones that it lets pass.

    python benchmarks/proof.py [--seeds 3]

Honest: every family of benchmarks/honest.py, trained to a loss below 1e-4 of its rows' variance, with rows around
zero, at 100 times their spread, and scaled outside the module. Faulty: benchmarks/mutants.py. What is published is
compared with the module's own forward once more, on rows that the proof has not seen, in batches of other sizes.
"""

import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from common import parser, save
from honest import ENOUGH, FAMILIES, SCALINGS, rows_of, trained
from mutants import GRAPHS, MODULES, NoPlaceError, changed
from numpy.typing import NDArray
from torch import nn

import aetool
from aetool.errors import AetoolError
from aetool.export import ModuleOptions, export_module
from aetool.export import _module as exporting

BASES = (
    "dense ReLU",
    "dense Tanh",
    "dense batch norm",
    "convolutional skip",
    "LSTM both ways",
    "transformer",
    "residual",
)
"""Families whose graphs are changed: each fault in the first one that has a place for it."""
DIFFERENT = 1e-3
"""Difference of a reconstruction, relative to the row's size, that no rounding explains."""


def attempt(module: nn.Module, rows: NDArray[np.float32], path: Path, reading: ModuleOptions | None = None) -> str:
    """Export; "published", or the error."""
    try:
        export_module(module, path, rows=rows, reading=reading)
    except AetoolError as error:
        return f"{type(error).__name__}: {error}"
    return "published"


def honest(seeds: int, folder: Path) -> dict[str, Any]:
    """Every family, seed and scaling."""
    refused, losses, seconds = [], [], []
    for family in FAMILIES:
        for seed in range(seeds):
            for scaling in SCALINGS:
                offset = 100.0 if scaling == "offset 100" else 0.0
                if scaling != "scaled outside":  # whose module is that of rows around zero
                    module, rows, loss = trained(family, seed, offset)
                reading = None
                if scaling == "standardised":
                    plain = module, rows
                elif scaling == "scaled outside":
                    module, rows = plain
                    rows = (rows * 37 + 5000).astype(np.float32)
                    reading = ModuleOptions(mean=[5000.0], scale=[37.0])
                losses.append(loss)
                begin = time.perf_counter()
                path = folder / f"honest-{len(losses)}"
                found = attempt(module, rows, path, reading)
                seconds.append(time.perf_counter() - begin)
                if found == "published" and reading is None and (wrong := differs(module, path, rows)):
                    found = f"published, and differs: {wrong}"
                if found != "published":
                    refused.append(
                        {"family": family, "seed": seed, "scaling": scaling, "loss": loss, "said": found}
                    )
                print(f"{family:28} {seed} {scaling:15} loss {loss:.1e}  {found[:150]}", flush=True)
    return {
        "modules": len(losses),
        "refused": refused,
        "below_the_loss": sum(loss < ENOUGH for loss in losses),
        "largest_loss": max(losses, default=None),
        "median_seconds": float(np.median(seconds)),
    }


def changed_graphs(folder: Path) -> dict[str, str]:
    """Fault -> what came of it, in the first base that has a place for it."""
    bases = {name: trained(name, 0)[:2] for name in BASES}
    found = {}
    export: Callable[..., Any] = exporting.export_graph
    for name, change in GRAPHS.items():
        for module, rows in bases.values():

            def faulty(*given: Any, change: Any = change) -> Any:
                return changed(export(*given), change)

            try:
                with mock.patch.object(exporting, "export_graph", faulty):
                    found[name] = attempt(module, rows, folder / f"graph-{len(found)}")
                break
            except NoPlaceError:
                continue
            except Exception as error:  # noqa: BLE001 - onnx's own refusals are refusals
                found[name] = f"{type(error).__name__}: {error}"
                break
        print(f"{name:32} {found.get(name, 'no place')[:150]}", flush=True)
    return found


def faulty_modules(folder: Path) -> dict[str, str]:
    """Fault -> what came of it; what was published is compared with forward."""
    rows, found = rows_of((12,), 1).astype(np.float32), {}
    for name, kind in MODULES.items():
        torch.manual_seed(1)
        module, path = kind().eval(), folder / f"module-{name}"
        found[name] = attempt(module, rows, path)
        if found[name] == "published":
            wrong = differs(module, path, rows)
            found[name] = f"WRONG: {wrong}" if wrong else "published, and equal to forward"
        print(f"{name:32} {found[name][:150]}", flush=True)
    return found


def differs(module: nn.Module, path: Path, rows: NDArray[np.float32]) -> str:
    """Where a bundle is not what forward gives for rows made here; "" where it is, everywhere."""
    random = np.random.default_rng(99)
    holes = rows[:5].copy()
    holes.reshape(5, -1)[np.arange(5), random.integers(0, holes[0].size, 5)] = np.nan
    away = random.normal(size=rows[:13].shape).astype(np.float32)
    sets = {
        "real": rows[::-1][:31],
        "far": (rows[:9] + 300 * away[:9]).astype(np.float32),
        "very far": (3e5 * away).astype(np.float32),
        "negative": -np.abs(rows[:11]) - 5,
        "alike": np.broadcast_to(
            random.normal(size=(6, *[1] * (rows.ndim - 1))).astype(np.float32), (6, *rows.shape[1:])
        ),
        "zero": np.zeros((2, *rows.shape[1:]), np.float32),
        "holes": holes,
    }
    module = module.eval()
    with aetool.load(path, provider="cpu") as model:
        for name, given_rows in sets.items():
            part = np.ascontiguousarray(given_rows)
            with torch.no_grad():
                given = module.double()(torch.from_numpy(part).double())
                module.float()
                expected = (given[0] if isinstance(given, tuple) else given).reshape(part.shape).numpy()
            found = model.reconstruct(part).astype(np.float64)
            usable = np.isfinite(expected.reshape(len(part), -1)).all(axis=1)
            size = np.maximum(np.abs(expected), np.abs(np.nan_to_num(part))).reshape(len(part), -1).max(axis=1)
            size = np.maximum(size, np.median(np.abs(rows)))  # what float32 holds of an offset that is subtracted
            off = np.abs(found - expected).reshape(len(part), -1).max(axis=1)
            if not (off[usable] <= DIFFERENT * size[usable]).all():
                return f"{name} rows by {np.nanmax(off[usable] / size[usable]):.1e} of their size"
            if not model.detect(part)[~np.isfinite(part.reshape(len(part), -1)).all(axis=1)].all():
                return f"{name} rows pass as normal"
    return ""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        graphs = changed_graphs(Path(folder))
        modules = faulty_modules(Path(folder))
        found = honest(options.seeds, Path(folder))
    passed = [name for name, said in graphs.items() if said == "published"]
    passed += [name for name, said in modules.items() if said.startswith("WRONG")]
    print(
        f"\nhonest: {len(found['refused'])} of {found['modules']} refused, {found['below_the_loss']} well trained"
        f"\nfaulty: {len(passed)} of {len(graphs) + len(modules)} published as equal: {passed}"
    )
    print(Counter(said.partition(":")[0] for said in [*graphs.values(), *modules.values()]))
    results = {"honest": found, "graphs": graphs, "modules": modules, "published_as_equal": passed}
    save("proof", {"seeds": options.seeds}, results)


if __name__ == "__main__":
    main()
