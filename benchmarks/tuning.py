"""What tuning gains: `load` after `aetool tune --for throughput`, against one `session.run` and OpenVINO's best.

    python benchmarks/tuning.py --bundle tiny=DIRECTORY ...

A model that is not given as a bundle is made anew; tuning makes int8 where there is none. `session.run` is fp32 on
all threads. OpenVINO runs the fp32 graph in its own default precision (bfloat16 where the CPU has it), once under
its latency hint and once under its throughput hint, in requests of 1,024 rows through an AsyncInferQueue.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, save
from competing import compete, figures
from models import NAMES, Model, make

from aetool.bench.contestants import Contestant, Load
from aetool.bench.factories import GRAPH
from aetool.bundle.bundle import Bundle
from aetool.bundle.schema import to_plain
from aetool.checks.fidelity import Budget
from aetool.quantize import quantized_copy
from aetool.runtime.machine import usable_cores
from aetool.tune import TuningPlan, tune

SCORE = "score"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--bundle", action="append", default=[], help="MODEL=DIRECTORY to copy, repeatable")
    arguments.add_argument("--rows", type=int, default=65_536)
    arguments.add_argument("--rounds", type=int, default=6, help="turns in each of two launches")
    arguments.add_argument("--seconds", type=float, default=60, help="of tuning, each model")
    options = arguments.parse_args()
    given = dict(one.split("=", 1) for one in options.bundle)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            bundle = _bundle(model, given.get(name), Path(folder))
            rows = np.resize(model.rows, (options.rows + 4096, model.rows.shape[1]))
            plan = TuningPlan("throughput", rows=options.rows, budget=Budget(), seconds=options.seconds)
            int8 = partial(quantized_copy, rows=model.rows, labels=None, precision="int8", budget=plan.budget)
            tuned = tune(bundle, plan, rows=model.rows, rows_name="rows of the model", makers={"int8": int8})
            load = Load(batch=options.rows, seconds=0.5, calls=4)
            found = figures(compete(_contestants(bundle), rows, load, rounds=options.rounds))
            results[name] = {"choice": to_plain(tuned.choice), "reason": tuned.reason, **found}
            print(f"{name:10} {tuned.choice.words:44} {found['aetool']['rows_per_s']:12,.0f} rows/s", end="")
            for peer in list(found)[1:]:
                print(f"  {found[peer]['to_it']['throughput']:.2f}x {peer}", end="")
            print()
    save("tuning", vars(options), results)


def _bundle(model: Model, given: str | None, folder: Path) -> Path:
    """A copy, since what is tuned is written beside it."""
    source = Bundle.open_whole(Path(given) if given else model.bundle)
    copy = folder / f"{model.name}-tuned"
    for name in (*source.manifest.files, "manifest.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((source.path / name).read_bytes())
    return copy


def _contestants(bundle: Path) -> list[Contestant]:
    file = str(bundle / Bundle.open(bundle).variant("fp32").files[GRAPH[SCORE]])
    ours = {"path": str(bundle), "graph": SCORE, "provider": "auto", "precision": "auto"}
    raw = {"file": file, "graph": SCORE, "threads": usable_cores()}
    hints = [
        Contestant(
            f"openvino-{hint.lower()}",
            "aetool.bench.factories:openvino",
            {"file": file, "graph": SCORE, "precision": None, "hint": hint},
        )
        for hint in ("LATENCY", "THROUGHPUT")
    ]
    return [
        Contestant("aetool", "aetool.bench.factories:bundle", ours),
        Contestant("raw-onnxruntime", "aetool.bench.factories:raw_onnxruntime", raw),
        *hints,
    ]


if __name__ == "__main__":
    main()
