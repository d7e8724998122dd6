"""The generated C on other processors: one hash of all outputs on every one, and what a row needs on two boards.

python benchmarks/chips.py [--quick]     needs what the Makefile lists at `chips`; --quick: one small bundle
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conformance
from common import save
from hosts import ROOT

from aetool.bundle.atomic import publish_directory
from aetool.bundle.bundle import Bundle
from aetool.deploy.c import COptions, c, symbol

BOARDS = Path(__file__).parent / "boards"
BUNDLES = ("breast-cancer", "reference", "tiny", "categories")
STRICT = (
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-ffunction-sections",
    "-fdata-sections",
)


@dataclass(frozen=True)
class Target:
    """A compiler, and what runs what it makes."""

    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()
    feature: str = ""
    """Flag of /proc/cpuinfo that it needs here."""
    how: str = "emulated"
    library: str = ""
    """Directory that a package of the compiler's brings."""

    def missing(self) -> str:
        """Return what is not there; empty if nothing."""
        programs = (self.compiler, *self.runner[:1])
        if absent := [program for program in programs if shutil.which(program) is None]:
            return f"{absent[0]} is not installed"
        if self.library and not Path(self.library).exists():
            return f"there is no {self.library}"
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        return f"this processor has no {self.feature}" if self.feature and self.feature not in flags else ""


@dataclass(frozen=True)
class Board(Target):
    """A microcontroller's board under QEMU."""

    machine: str = ""


def _here(compiler: str, *flags: str, feature: str = "") -> Target:
    return Target(compiler, flags, feature=feature, how="run")


def _wasm(*flags: str) -> Target:
    runner = ("node", "--no-warnings", str(BOARDS / "wasi.mjs"))
    return Target("clang", ("--target=wasm32-wasi", *flags), runner, library="/usr/include/wasm32-wasi", how="run")


def _board(machine: str, *flags: str) -> Board:
    runner = ("qemu-system-arm", "-M", machine, "-nographic", "-semihosting", "-icount", "shift=0", "-kernel")
    return Board("arm-none-eabi-gcc", ("-mthumb", "-mfloat-abi=hard", *flags), runner, machine=machine)


TARGETS: dict[str, Target] = {
    "x86-64, no vectors, gcc": _here("gcc", "-O2", "-DAETOOL_PLAIN"),
    "x86-64, SSE2, gcc": _here("gcc", "-O2"),
    "x86-64, SSE2, gcc -O0": _here("gcc", "-O0"),
    "x86-64, SSE2, clang": _here("clang", "-O2"),
    "x86-64, AVX2 and FMA, gcc": _here("gcc", "-O3", "-mavx2", "-mfma", feature="fma"),
    "x86-64, AVX2 and FMA, clang": _here("clang", "-O3", "-mavx2", "-mfma", feature="fma"),
    "x86-64, AVX-512, gcc": _here("gcc", "-O3", "-march=skylake-avx512", feature="avx512bw"),
    "x86-64, AVX-512, clang": _here("clang", "-O3", "-march=skylake-avx512", feature="avx512bw"),
    "aarch64": Target("aarch64-linux-gnu-gcc", ("-O2",), ("qemu-aarch64",)),
    "armhf": Target("arm-linux-gnueabihf-gcc", ("-O2",), ("qemu-arm",)),
    "riscv64": Target("riscv64-linux-gnu-gcc", ("-O2",), ("qemu-riscv64",)),
    "WebAssembly in Node": _wasm("-O2"),
    "WebAssembly with SIMD in Node": _wasm("-O3", "-msimd128"),
    "Cortex-M4F": _board("mps2-an386", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"),
    "Cortex-M7": _board("mps2-an500", "-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16"),
}


def deployed(bundle: Bundle, precision: str, path: Path) -> Path:
    """Write the C of a bundle's detector."""
    publish_directory(path, c(bundle, ("detector",), COptions(int8=precision == "int8")).files)
    return path


def bundle_of(name: str, folder: Path) -> Bundle:
    """Return one of BUNDLES."""
    if name == "breast-cancer":
        return Bundle.open(ROOT / "exported" / name)
    return conformance.make(name, folder)


def checked(source: Path, target: Target, folder: Path, extra: Sequence[str] = ()) -> str:
    """Build check.c for a target, run it, and return the hash that it prints."""
    program = folder / "check"
    sources = [str(source / "check.c"), *_sources(source)]
    if isinstance(target, Board):
        _build_for_board(target, "-O2", sources, program)
    else:
        linked = ["-static"] if target.runner and not target.library else []
        _run(target.compiler, *target.flags, *STRICT, *linked, "-o", str(program), *sources, "-lm", *extra)
    said = _run(*target.runner, str(program))
    found = re.search(r"sha256 of all outputs ([0-9a-f]{64})", said)
    assert found and "passed" in said, said
    return found[1]


def needed(source: Path, bundle: Bundle, board: Board, optimised: str, folder: Path) -> dict[str, int]:
    """Flash, memory and instructions of one row on a board."""
    name = symbol(bundle)
    width = str(bundle.manifest.input_shape[0])
    words = {"MODEL": f'"{name}.h"', "GOLDEN": f'"{name}_golden.h"', "DETECT": f"{name}_detect", "WIDTH": width}
    defined = [f"-D{key}={value}" for key, value in words.items()]
    sources = [str(BOARDS / "needs.c"), *_sources(source)]
    options = [*defined, f"-I{source}", "-Wno-unused-variable"]
    _build_for_board(board, optimised, sources, folder / "bare", ["-DBARE", *options])
    text, data, bss = map(int, _run("arm-none-eabi-size", str(folder / "bare")).splitlines()[1].split()[:3])
    _build_for_board(board, optimised, sources, folder / "needs", options)
    said = _run(*board.runner, str(folder / "needs"))
    found = re.search(r"stack (\d+) instructions (\d+)", said)
    assert found, said
    return {"flash": text + data, "static_ram": data + bss, "stack": int(found[1]), "instructions": int(found[2])}


def _sources(source: Path) -> list[str]:
    return sorted(str(path) for path in source.glob("aetool_*.c"))


def _build_for_board(
    board: Board, optimised: str, sources: Sequence[str], program: Path, more: Sequence[str] = ()
) -> None:
    flags = [flag for flag in STRICT if flag not in ("-std=c99", "-pedantic")]
    linked = ["-nostartfiles", "--specs=rdimon.specs", "-Wl,--gc-sections", "-T", str(BOARDS / "board.ld")]
    files = [str(BOARDS / "startup.c"), *sources]
    _run(
        board.compiler, *board.flags, optimised, "-std=gnu99", *flags, *more, *linked, "-o", str(program), *files,
        "-lm", "-lc", "-lrdimon",
    )  # fmt: skip


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Every bundle and precision on every target."""
    results: dict[str, Any] = {}
    for name in names:
        bundle = bundle_of(name, folder)
        for precision in ("fp32", "int8"):
            source = deployed(bundle, precision, folder / f"{name}-{precision}")
            hashes = {}
            for title, target in TARGETS.items():
                if absent := target.missing():
                    print(f"{title}: not run, {absent}")
                    continue
                hashes[title] = checked(source, target, folder)
            boards = {
                f"{title} {optimised}": needed(source, bundle, target, optimised, folder)
                for title, target in TARGETS.items()
                if isinstance(target, Board) and not target.missing()
                for optimised in ("-Os", "-O2")
            }
            results[f"{name} {precision}"] = {"sha256": hashes, "boards": boards}
            print(f"{name} {precision}: {len(set(hashes.values()))} hash on {len(hashes)} targets")
            for title, figures in boards.items():
                print(f"  {title}: {', '.join(f'{key} {value:,}' for key, value in figures.items())}")
    return results


def main() -> None:
    """Measure, print, and keep the result."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        results = measure(BUNDLES[:1] if quick else BUNDLES, Path(folder))
    different = [name for name, found in results.items() if len(set(found["sha256"].values())) != 1]
    if different:
        sys.exit(f"the hashes differ: {', '.join(different)}")
    if not quick:
        how = {title: target.how for title, target in TARGETS.items()}
        save("chips", {"targets": how}, results)


if __name__ == "__main__":
    main()
