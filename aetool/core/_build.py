"""Compiling of the core as pip installs aetool: a build hook of hatchling, and what tests compile with.

Without a C compiler or Python's headers, or with AETOOL_CORE=0, the package is pure Python: bundles run on
onnxruntime, and the reason is kept for `aetool doctor`.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
MODULE, REASON = "_native.abi3.so", "_native.txt"
OPTIMISED = ("-O3", "-fno-math-errno", "-fno-trapping-math")
"""The last two change no result: they let compilers use vectors where the C has a choice of two numbers."""
ALWAYS = ("-std=c99", "-Werror=implicit-function-declaration", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off")
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx512": ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mprefer-vector-width=512"),
        "avx2": ("-mavx2",),
        "plain": ("-DAETOOL_PLAIN",),
    },
    "aarch64": {"plain": ("-DAETOOL_PLAIN",)},
}
"""Machine -> kind of vectors, besides what its compiler takes by default -> flags."""


class CoreHook(BuildHookInterface[Any]):
    """Hook that adds the compiled core to a wheel or an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or note why not."""
        for name in (MODULE, REASON):
            (HERE / name).unlink(missing_ok=True)
        made = MODULE
        try:
            build(HERE / MODULE)
        except BuildError as error:
            made = REASON
            (HERE / REASON).write_text(f"{error}\n", encoding="utf-8")
            self.app.display_warning(f"aetool's core is not compiled: {error}; bundles run on onnxruntime")
        else:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{_platform_tag()}"
        build_data["artifacts"].append(f"aetool/core/{made}")


class BuildError(Exception):
    """The core cannot be compiled here."""


def build(target: Path, compiler: str | None = None, flags: Sequence[str] = OPTIMISED) -> None:
    """Compile the extension module into `target`.

    Args:
        target: the file to write.
        compiler: a C compiler; None for $CC, Python's own, cc, gcc or clang.
        flags: how to optimise, and whatever else.

    Raises:
        BuildError: there is no compiler, or it fails; or AETOOL_CORE=0.
    """
    if os.environ.get("AETOOL_CORE") == "0":
        raise BuildError("AETOOL_CORE=0 was set when aetool was installed")
    if sys.platform == "win32" or sys.implementation.name != "cpython":
        raise BuildError(f"it is compiled for CPython on Linux and macOS, this is {sys.platform}")
    found = compiler or _compiler()
    headers = sysconfig.get_path("include")
    if not (Path(headers) / "Python.h").exists():
        raise BuildError("no Python.h where aetool was installed; install Python's headers (python3-dev)")
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name, more in {"": (), **VARIANTS.get(platform.machine(), {})}.items():
            objects.append(f"{folder}/core_{name}.o")
            named = [f"-DAETOOL_RUN=aetool_run_{name}"] if name else []
            _run([found, *ALWAYS, *flags, *named, *more, "-c", str(HERE / "core.c"), "-o", objects[-1]])
        linked = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        made = f"{folder}/{MODULE}"
        _run([found, *ALWAYS, *flags, f"-I{headers}", *linked, str(HERE / "module.c"), *objects, "-o", made])
        shutil.copyfile(made, f"{target}.new")
    Path(f"{target}.new").replace(target)


def _compiler() -> str:
    """Return the first C compiler that is there."""
    own = str(sysconfig.get_config_var("CC") or "").split()
    for name in (os.environ.get("CC", ""), *own[:1], "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise BuildError("no C compiler was found when aetool was installed; install gcc or clang")


def _run(command: list[str]) -> None:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        said = (found.stderr or found.stdout).strip().splitlines()
        first = next((line for line in said if "error:" in line), said[0] if said else "no message")
        raise BuildError(f"{Path(command[0]).name} failed: {first[:200]}")


def _platform_tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
