"""Checks of this machine: packages and execution providers, each tried by running it."""

import base64
import json
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from aetool.bundle.bundle import Bundle
from aetool.core.native import LoadedProgram
from aetool.core.translate import translate
from aetool.errors import AetoolError, DependencyError, install_with
from aetool.onnx_check.model import read_model
from aetool.runtime.machine import Cores, cores
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS, candidates, onnxruntime
from aetool.runtime.tuning import find_tuning

PACKAGES = (
    "numpy",
    "pyarrow",
    "torch",
    "onnx",
    "onnxscript",
    "safetensors",
    "scikit-learn",
    "onnxruntime-ep-openvino",
)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
"""Distributions that bring the module `onnxruntime`; only one may be installed."""
PATIENCE_S = 60.0
"""Seconds that a provider may take for its first row: a driver may compile its kernels first."""
# A whole ONNX model: y = x + x over (batch, 1), IR 8, opset 13.
_PROBE = base64.b64decode(
    "CAg6SwoOCgF4CgF4EgF5IgNBZGQSBXByb2JlWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCAFiGAoBeRITChEIARINCgcSBWJhdGNoCgIIAUIECgAQDQ=="
)
# With the path of this process, so that the child finds the same aetool whatever directory it starts in.
_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from aetool.checks.doctor import child; child()"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    what: str
    state: str
    """Result in a few words."""
    ok: bool | None
    """None: neither good nor bad."""
    remedy: str = ""


def examine(patience_s: float = PATIENCE_S, bundle: Path | None = None) -> Iterator[Finding]:
    """Check this machine: Python, packages, and every execution provider with a row run on it.

    With a bundle, the tuning file beside it is checked too.
    """
    with ThreadPoolExecutor(len(PROVIDERS)) as pool:
        tried = [pool.submit(try_apart, name, patience_s) for name in PROVIDERS]
        yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", None)
        yield Finding("threads", _threads(cores()), None)
        for name in PACKAGES:
            yield Finding(name, _version(name) or "not installed", None)
        yield _one_runtime({name: version for name in RUNTIMES if (version := _version(name))})
        yield from (future.result() for future in tried)
    if bundle is not None:
        yield _tuning(bundle)


def _tuning(path: Path) -> Finding:
    try:
        found = find_tuning(Bundle.open(path.absolute()), "auto", "auto")
    except AetoolError as error:
        state, _, remedy = str(error).partition("; ")
        return Finding("tuning", state, False, remedy)
    if found is None:
        return Finding("tuning", f"none beside {path}", None)
    ignored = found.choice is None
    return Finding("tuning", found.words, None if ignored else True, "run aetool tune again" if ignored else "")


def _threads(found: Cores) -> str:
    quota = "no quota" if found.quota is None else f"quota {found.quota:g}"
    return f"{found.usable} (cores {found.machine}, affinity {found.affinity}, {quota})"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _one_runtime(installed: dict[str, str]) -> Finding:
    described = " and ".join(f"{name} {version}" for name, version in installed.items())
    if len(installed) > 1:
        return Finding(
            "onnxruntime",
            f"{described} are installed together and overwrite each other",
            False,
            f"pip uninstall -y {' '.join(installed)}; then {install_with('cpu', 'gpu', 'cuda')}",
        )
    if not installed:
        return Finding("onnxruntime", "not installed", False, install_with("cpu", "gpu"))
    return Finding("onnxruntime", described, True)


def try_apart(name: str, patience_s: float = PATIENCE_S) -> Finding:
    """Run `try_provider` in a process of its own, where a driver may crash or hang."""
    what = f"provider {name}"
    if name == "native":
        return _core()
    try:
        onnxruntime()
    except DependencyError as error:
        return _refused(name, str(error))
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), name]
    probe = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told, complaints = probe.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        probe.kill()  # and not waited for: what hangs in a driver may not even die
        return Finding(what, f"timed out after {patience_s:g} s", False, _OTHER)
    if probe.returncode == 0:
        return Finding(**json.loads(told.splitlines()[-1]))
    last = (complaints.strip().splitlines() or ["without a word"])[-1][:200]
    return Finding(what, f"crashed ({_ending(probe.returncode)}): {last}", False, _OTHER)


def _core() -> Finding:
    """Run a row on the core and compare its result."""
    try:
        candidates("native")
        program = LoadedProgram(translate(read_model(_PROBE, 2, 10), (1,)))
        program.run(np.full((1, 1), 21, np.float32), [found := np.empty((1, 1), np.float32)])
    except AetoolError as error:
        return _refused("native", str(error))
    if found[0, 0] != 42:
        return Finding("provider native", f"computes {found[0, 0]} for 21 + 21", False, _OTHER)
    return Finding("provider native", f"runs, with {program.vectors}", True)


_OTHER = "use another provider, and look at its driver and at the versions above"


def _ending(returncode: int) -> str:
    known = {int(number): number.name for number in signal.Signals}
    return known.get(-returncode, f"exit code {returncode}")


def child() -> None:
    """Run the process of `try_apart`: one line of JSON on the real stdout, the last one there."""
    finding = try_provider(sys.argv[2])
    sys.stdout.write("\n" + json.dumps(asdict(finding)) + "\n")


def try_provider(name: str) -> Finding:
    """Run a row on a provider and compare its result."""
    try:
        session = open_session(_PROBE, candidates(name)[0], where="the probe")
        (found,) = session.run(["y"], {"x": np.full((1, 1), 21, np.float32)})
    except AetoolError as error:
        return _refused(name, str(error))
    if found[0, 0] != 42:
        return Finding(f"provider {name}", f"computes {found[0, 0]} for 21 + 21", False, _OTHER)
    return Finding(f"provider {name}", "runs", True)


def _refused(name: str, reason: str) -> Finding:
    """Return an error's message without the remedy. Only the CPU has to work: no GPU is no fault."""
    state, _, remedy = reason.removeprefix(f"provider {name!r} ").partition("; ")
    return Finding(f"provider {name}", state, False if name == "cpu" else None, remedy)
