"""A whole process that imports, loads, and scores one row: aetool against bare onnxruntime and PyTorch.

    python benchmarks/cold_start.py

From the start of the process to its end, the processes taking turns. Each ran once before, so that its Python
modules are compiled, as an installation leaves them, and its files are in the system's cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import parser, save
from models import NAMES, make

SCRIPTS = {
    "aetool": """
import sys, numpy, aetool
rows = numpy.load(sys.argv[3])
model = aetool.load(sys.argv[1])
print(model.score(rows)[0])
""",
    "raw-onnxruntime": """
import sys, numpy, onnxruntime
rows = numpy.load(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1] + "/detector.onnx", providers=["CPUExecutionProvider"])
print(session.run(["score"], {"features": rows})[0][0])
""",
    "torch": """
import sys, numpy, torch
from safetensors.torch import load_file
rows = torch.from_numpy(numpy.load(sys.argv[3]))
weights = list(load_file(sys.argv[2]).values())  # read; which numbers are multiplied does not matter here
widths = [int(width) for width in sys.argv[4].split(",")]
network = torch.nn.Sequential(*(torch.nn.Linear(*pair) for pair in zip(widths, widths[1:])))
with torch.inference_mode():
    print(float(((network(rows) - rows) ** 2).mean()))
""",
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=31)
    options = arguments.parse_args()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            np.save(row := Path(folder) / "row.npy", model.rows[:1])
            weights = model.checkpoint / "weights.safetensors"
            widths = ",".join(map(str, model.widths))
            taken: dict[str, list[float]] = {contestant: [] for contestant in SCRIPTS}
            for turn in range(options.rounds + 1):
                for contestant, script in SCRIPTS.items():
                    command = [sys.executable, "-c", script, model.bundle, weights, row, widths]
                    begin = time.perf_counter()
                    subprocess.run(command, check=True, capture_output=True, env=environment)
                    if turn > 0:
                        taken[contestant].append(time.perf_counter() - begin)
            results[name] = {"rounds_s": taken, "median_s": {k: statistics.median(v) for k, v in taken.items()}}
            for peer in ("raw-onnxruntime", "torch"):
                pairs = zip(taken["aetool"], taken[peer], strict=True)
                results[name][f"to_{peer}"] = ratio = statistics.median(ours / theirs for ours, theirs in pairs)
                print(f"{name:10} {statistics.median(taken['aetool']) * 1e3:.0f} ms, {ratio:.3f} of {peer}")
    save("cold_start", vars(options), results)


if __name__ == "__main__":
    main()
