"""The build hook compiles the core where it can, and else leaves a pure package and the reason."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

_build: Any = pytest.importorskip("aetool.core._build", reason="a wheel has no build hook")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the core's C, which the hook compiles and writes into."""
    for name in ("core.c", "core.h", "module.c"):
        shutil.copy(_build.HERE / name, tmp_path)
    monkeypatch.setattr(_build, "HERE", tmp_path)
    monkeypatch.delenv("AETOOL_CORE", raising=False)
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def hooked(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what the hook tells hatchling, and its warnings."""
    warnings: list[str] = []
    told: dict[str, Any] = {"artifacts": []}
    app = SimpleNamespace(display_warning=warnings.append)
    hook = _build.CoreHook(str(folder), {}, None, None, str(folder), "wheel", app)
    hook.initialize("standard", told)
    return told, warnings


def require_pure(folder: Path, reason: str) -> None:
    (folder / _build.MODULE).write_bytes(b"of an earlier build")
    told, warnings = hooked(folder)
    assert told == {"artifacts": ["aetool/core/_native.txt"]}  # neither a tag nor impure
    assert reason in (folder / "_native.txt").read_text(encoding="utf-8") and reason in warnings[0]
    assert not (folder / _build.MODULE).exists()


def test_aetool_core_0_leaves_the_package_pure(folder, monkeypatch):
    monkeypatch.setenv("AETOOL_CORE", "0")
    require_pure(folder, "AETOOL_CORE=0 was set when aetool was installed")


def test_a_compiler_that_fails_leaves_the_package_pure(folder, monkeypatch):
    monkeypatch.setenv("CC", "/bin/false")
    require_pure(folder, "false failed")


def test_an_error_of_the_compiler_is_the_reason(folder, monkeypatch):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    (folder / "core.h").write_text("#error no core today\n")
    monkeypatch.setenv("CC", "cc")
    require_pure(folder, "no core today")


def test_without_a_compiler_the_package_is_pure(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    require_pure(folder, "no C compiler was found when aetool was installed; install gcc or clang")


def test_without_pythons_headers_the_package_is_pure(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(_build, "_compiler", lambda: "cc")
    monkeypatch.setattr(_build.sysconfig, "get_path", lambda name: str(tmp_path))
    require_pure(folder, "install Python's headers (python3-dev)")


@pytest.mark.parametrize(("system", "implementation"), [("win32", "cpython"), ("linux", "pypy")])
def test_where_the_core_is_not_compiled_the_package_is_pure(system, implementation, folder, monkeypatch):
    monkeypatch.setattr(_build.sys, "platform", system)
    monkeypatch.setattr(_build.sys, "implementation", SimpleNamespace(name=implementation))
    require_pure(folder, f"it is compiled for CPython on Linux and macOS, this is {system}")


def test_the_first_compiler_that_is_there_is_taken(monkeypatch, tmp_path):
    for name in ("clang", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "mine")
    assert _build._compiler() == str(tmp_path / "mine")
    monkeypatch.setenv("CC", "not-there")
    assert _build._compiler() == str(tmp_path / "clang")


def unhurried(folder: Path) -> str:
    """Return a C compiler that does not optimise, which takes a fifth of the time."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    script = folder / "unhurried"
    script.write_text(f'#!/bin/sh\nexec {compiler} "$@" -O0\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.skipif(sys.platform == "win32", reason="the core is compiled on Linux and macOS")
@pytest.mark.parametrize("compiled", [True, False])
def test_a_wheel_has_the_core_and_the_tag_of_its_platform_or_is_pure(compiled, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    skipped = shutil.ignore_patterns("__pycache__", "_native.abi3.so", "_native.txt")
    shutil.copytree(ROOT / "aetool", tree / "aetool", ignore=skipped)
    choice = {"CC": unhurried(tmp_path)} if compiled else {"AETOOL_CORE": "0"}
    environment = {
        name: text for name, text in os.environ.items() if name not in ("CC", "AETOOL_CORE", "PYTHONPATH")
    }
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=tree, env=environment | choice, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    names = {name.removeprefix("aetool/core/") for name in zipfile.ZipFile(wheel).namelist()}
    assert {"core.c", "core.h", "module.c", "native.py", "_native.pyi"} <= names and "_build.py" not in names
    tag = f"-cp311-abi3-{_build._platform_tag()}.whl" if compiled else "-py3-none-any.whl"
    assert wheel.name.endswith(tag)
    assert ("_native.abi3.so" in names, "_native.txt" in names) == (compiled, not compiled)
