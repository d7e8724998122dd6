"""Signs of life: how soon each command shows something on a terminal, and how long it is silent at most.

    python benchmarks/first_output.py

Each command runs in a pseudo-terminal of its own, several times; a silence is the time before the first write,
between two writes, or after the last one. The first run, which compiles Python's modules, is not counted.
"""

import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import parser, save

SAMPLES = Path(__file__).parents[1] / "exported" / "samples.csv"
COMMANDS = {
    "help": "--help",
    "train": "train {samples} --label malignant --drop id -o checkpoint",
    "export": "export checkpoint -o bundle",
    "info": "info bundle",
    "info of a checkpoint": "info checkpoint",
    "verify": "verify bundle",
    "verify against PyTorch": "verify bundle --against checkpoint --data {samples}",
    "evaluate": "evaluate bundle {samples} --label malignant",
    "compression": "compression bundle {samples}",
    "drift": "drift bundle --data {samples}",
    "doctor": "doctor",
    "score": "score bundle {samples}",
    "score a long table": "score bundle long.csv -o scores.csv",
    "score into a directory": "score bundle long.csv -o scores/",
    "segment learn": "segment learn bundle {samples}",
    "segment assign": "segment assign bundle {samples} -o segments.csv",
    "quantize": "quantize bundle --data {samples} --label malignant --max-flips 1 --max-auroc-drop 1",
    "tune": "tune bundle --for latency --seconds 10",
    "bench": "bench bundle --graph score --rounds 2 --launches 1 --seconds 0.1 -o bench.json",
    "report": "report bundle --data {samples} --label malignant",
    "adopt": "adopt net.onnx --data {samples} --drop id,malignant -o adopted",
    "deploy": "deploy c bundle -o deployed",
    "demo": "demo",
}
"""What is measured -> the words after `aetool`; they run in this order, in one directory."""
LONG = 200_000  # rows


def watched(words: list[str], folder: Path) -> dict[str, Any]:
    """Run `aetool` on a terminal: seconds to the first byte, of the longest silence, and to the end."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    begin = last = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
    )
    os.close(follower)
    first, silence, text = None, 0.0, b""
    while select.select([leader], [], [], 600)[0]:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # the other side is closed
            break
        now = time.perf_counter()
        first = first or now - begin
        silence, last, text = max(silence, now - last), now, text + part
    code = process.wait()
    end = time.perf_counter()
    os.close(leader)
    if code not in (0, 3):  # 3: drift
        raise SystemExit(f"aetool {' '.join(words)}: exit code {code}\n{text.decode()[-2000:]}")
    return {"first_s": first, "longest_silence_s": max(silence, end - last), "seconds": end - begin}


def _strip(graph: Path, output: Path) -> None:
    """Write a graph of a bundle as somebody else's file."""
    model = onnx.load(graph)
    del model.metadata_props[:]
    onnx.save(model, output)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in COMMANDS}
    for turn in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            head, *rows = SAMPLES.read_text(encoding="utf-8").splitlines()
            long = np.random.default_rng(0).integers(len(rows), size=LONG)
            (folder / "long.csv").write_text(
                "\n".join([head, *(rows[row] for row in long)]) + "\n", encoding="utf-8"
            )
            for name, words in COMMANDS.items():
                if name == "adopt":
                    _strip(folder / "bundle" / "autoencoder.onnx", folder / "net.onnx")
                found = watched(words.format(samples=SAMPLES).split(), folder)
                if turn > 0:
                    rounds[name].append(found)
    results = {
        name: {"rounds": every, "median_first_s": statistics.median(one["first_s"] for one in every)}
        | {"longest_silence_s": max(one["longest_silence_s"] for one in every)}
        for name, every in rounds.items()
    }
    for name, found in results.items():
        first, silence = found["median_first_s"], found["longest_silence_s"]
        print(f"{name:24} first output after {first:.2f} s, longest silence {silence:.2f} s")
    save("first_output", vars(options), results)


if __name__ == "__main__":
    main()
