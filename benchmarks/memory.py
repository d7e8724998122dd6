"""Memory: resident after loading and one row, against bare onnxruntime; and over a million calls of random sizes.

python benchmarks/memory.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, save
from models import NAMES, make

COMMON = """
import json, sys, numpy
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
rows = numpy.load(sys.argv[2])
"""
SCRIPTS = {
    "aetool": """
import aetool
model = aetool.load(sys.argv[1])
model.score(rows[:1])
print(json.dumps(resident()))
""",
    "raw-onnxruntime": """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/detector.onnx", providers=["CPUExecutionProvider"])
session.run(["score"], {"features": rows[:1]})
print(json.dumps(resident()))
""",
}
MANY = """
import aetool
model = aetool.load(sys.argv[1])
calls, seen = int(sys.argv[3]), []
sizes = numpy.random.default_rng(0).integers(1, 65, calls)
for step in range(10):
    for size in sizes[step * calls // 10 : (step + 1) * calls // 10].tolist():
        model.score(rows[:size])
    seen.append(resident())
print(json.dumps(seen))
"""


def run(script: str, *arguments: Any) -> Any:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", COMMON + script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--calls", type=int, default=1_000_000)
    options = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            np.save(rows := Path(folder) / "rows.npy", model.rows[:64])
            loaded: dict[str, list[float]] = {contestant: [] for contestant in SCRIPTS}
            for _ in range(options.rounds):
                for contestant, script in SCRIPTS.items():
                    loaded[contestant].append(run(script, model.bundle, rows))
            medians = {contestant: statistics.median(found) for contestant, found in loaded.items()}
            more = medians["aetool"] - medians["raw-onnxruntime"]
            tenths = run(MANY, model.bundle, rows, options.calls)
            results[name] = {
                "resident_mb": medians,
                "more_than_raw_mb": more,
                "resident_mb_after_each_tenth": tenths,
                "growth_mb": tenths[-1] - tenths[0],
            }
            print(
                f"{name:10} {medians['aetool']:.1f} MB, {more:+.1f} to bare onnxruntime; "
                f"{options.calls:,} calls: {tenths[-1] - tenths[0]:+.2f} MB"
            )
    save("memory", vars(options), results)


if __name__ == "__main__":
    main()
