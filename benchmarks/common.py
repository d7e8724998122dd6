"""What every benchmark shares: the machine's description, contestants in processes of their own, results."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("aetool", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "pyod", "torch")


def machine() -> dict[str, Any]:
    """CPU, cores, memory, versions and commit: what a result needs to be compared with another."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    fields = dict(line.split(":", 1) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in fields.items()}
    flags = facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cpu_flags": sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma", "f16c"))),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
    }


def save(name: str, parameters: dict[str, Any], results: Any) -> Path:
    """Write results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
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


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
