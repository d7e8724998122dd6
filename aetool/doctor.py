"""What works on this machine, found out by trying it."""

import base64
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from aetool.errors import AetoolError
from aetool.runtime.bulk import usable_cores
from aetool.runtime.providers import PROVIDERS, candidates
from aetool.runtime.session import open_session

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
PACKAGES = ("numpy", *DISTRIBUTIONS, "pyarrow", "torch", "onnx", "onnxscript", "safetensors", "scikit-learn")
# A whole ONNX model: y = x + x over (batch, 1), IR 8, opset 13.
_PROBE = base64.b64decode(
    "CAg6SwoOCgF4CgF4EgF5IgNBZGQSBXByb2JlWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCAFiGAoBeRITChEIARINCgcSBWJhdGNoCgIIAUIECgAQDQ=="
)


@dataclass(frozen=True, slots=True)
class Finding:
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
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    for name in PACKAGES:
        yield Finding(name, versions.get(name, "not installed"), None)
    yield _one_onnxruntime([name for name in DISTRIBUTIONS if name in versions])
    for name in PROVIDERS:
        yield _try_provider(name)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _one_onnxruntime(installed: list[str]) -> Finding:
    if len(installed) > 1:
        return Finding(
            "onnxruntime distributions",
            f"{' and '.join(installed)} are both installed and overwrite each other",
            False,
            f"pip uninstall -y {' '.join(installed)}, then pip install one of them",
        )
    if not installed:
        return Finding("onnxruntime distributions", "none", False, "pip install 'aetool[cpu]'")
    return Finding("onnxruntime distributions", installed[0], True)


def _try_provider(name: str) -> Finding:
    what = f"provider {name}"
    try:
        session = open_session(_PROBE, candidates(name)[0], where="the probe")
        (found,) = session.run(["y"], {"x": np.full((1, 1), 21, np.float32)})
    except AetoolError as error:
        return Finding(what, str(error), False if name == "cpu" else None)
    right = bool(found[0, 0] == 42)
    return Finding(what, "runs" if right else f"computes {found[0, 0]} for 21 + 21", right)


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing that was found is bad."""
    return all(finding.ok is not False for finding in findings)
