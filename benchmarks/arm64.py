"""aetool on 64-bit ARM: the wheel built and tests run by an emulated Python of Debian, without root or chroot.

python benchmarks/arm64.py [TEST ...]     needs mmdebstrap, qemu-user and gcc-aarch64-linux-gnu; keeps .arm64/
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".arm64"
DEBIAN, SITE, COMPILER = HOME / "debian", HOME / "site", HOME / "cc"
PACKAGES = ("numpy", "onnxruntime", "click", "rich", "pytest", "hypothesis", "hatchling")
TESTS = ("tests/runtime/test_native.py", "tests/runtime/test_results.py")
# What onnxruntime looks at to find out which processor it is on; QEMU would show this machine's.
PROCESSOR = """processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


def prepare() -> Path:
    """Return an executable that is Python on 64-bit ARM, with what the tests need."""
    python = HOME / "python"
    if not DEBIAN.is_dir():
        HOME.mkdir(exist_ok=True)
        _run("mmdebstrap", "--architectures=arm64", "--variant=extract", "--include=python3-dev,libstdc++6",
             "bookworm", str(DEBIAN))  # fmt: skip
    for name, text in {"proc/cpuinfo": PROCESSOR, **dict.fromkeys(_CPU_LISTS, "0\n")}.items():
        (DEBIAN / name).parent.mkdir(parents=True, exist_ok=True)
        (DEBIAN / name).write_text(text, encoding="utf-8")
    if not SITE.is_dir():
        platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
        _run(
            sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "--python-version=3.11",
            *platforms, "--only-binary=:all:", "--target", str(SITE), *PACKAGES,
        )  # fmt: skip
    # The kernel does not start programs of ARM: what starts Python again has to start the emulator.
    (SITE / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(python)!r}\n", encoding="utf-8")
    emulated = f"qemu-aarch64 -cpu cortex-a72 -L '{DEBIAN}' '{DEBIAN}/usr/bin/python3.11'"
    compiler = f"aarch64-linux-gnu-gcc -idirafter '{DEBIAN}/usr/include'"
    for path, command in ((python, emulated), (COMPILER, compiler)):
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    return python


_CPU_LISTS = ("sys/devices/system/cpu/possible", "sys/devices/system/cpu/present")


def main() -> None:
    """Build the wheel, install it, run the tests."""
    python = prepare()
    source, wheels = HOME / "source", HOME / "wheels"
    for folder in (source, wheels):
        shutil.rmtree(folder, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    environment = os.environ | {"PYTHONPATH": str(SITE), "CC": str(COMPILER)}
    _run(str(python), "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=source, env=environment)
    (wheel,) = wheels.glob("*.whl")
    print(wheel.name, flush=True)
    shutil.rmtree(SITE / "aetool", ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(SITE)
    shutil.rmtree(source / "aetool")  # the tests take the wheel
    tests = sys.argv[1:] or TESTS
    _run(str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=source, env=environment)


def _run(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, cwd=cwd, env=env, check=True)


if __name__ == "__main__":
    main()
