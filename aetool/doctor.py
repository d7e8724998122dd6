"""What works on this machine, found out by trying it."""

import base64
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from aetool.errors import AetoolError
from aetool.runtime.cores import usable_cores
from aetool.runtime.providers import PROVIDERS, candidates
from aetool.runtime.session import open_session

PACKAGES = ("numpy", "pyarrow", "torch", "onnx", "onnxscript", "safetensors", "scikit-learn")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
"""Distributions that bring the module `onnxruntime`: one of them at a time."""
# A whole ONNX model: y = x + x over (batch, 1), IR 8, opset 13.
_PROBE = base64.b64decode(
    "CAg6SwoOCgF4CgF4EgF5IgNBZGQSBXByb2JlWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCAFiGAoBeRITChEIARINCgcSBWJhdGNoCgIIAUIECgAQDQ=="
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    state: str
    """What was found."""
    ok: bool | None
    """None: neither good nor bad."""
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Look at this machine: Python, packages, and every execution provider with a row run on it."""
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", None)
    yield Finding("cores", f"{usable_cores()} usable", None)
    for name in PACKAGES:
        yield Finding(name, _version(name) or "not installed", None)
    yield _one_runtime({name: version for name in RUNTIMES if (version := _version(name))})
    for name in PROVIDERS:
        yield _try_provider(name)


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
            f"pip uninstall -y {' '.join(installed)}; then pip install one: 'aetool[cpu]', 'aetool[gpu]' or "
            "'aetool[cuda]'",
        )
    if not installed:
        return Finding("onnxruntime", "not installed", False, "pip install 'aetool[cpu]', or 'aetool[gpu]'")
    return Finding("onnxruntime", described, True)


def _try_provider(name: str) -> Finding:
    what = f"provider {name}"
    bad = False if name == "cpu" else None  # no GPU is no fault
    try:
        session = open_session(_PROBE, candidates(name)[0], where="the probe")
        (found,) = session.run(["y"], {"x": np.full((1, 1), 21, np.float32)})
    except AetoolError as error:
        return Finding(what, str(error), bad)
    right = bool(found[0, 0] == 42)
    return Finding(what, "runs" if right else f"computes {found[0, 0]} for 21 + 21", right)
