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
import hosts
from common import save
from hosts import ROOT

from aetool.bundle.atomic import publish_directory
from aetool.bundle.bundle import Bundle
from aetool.deploy.c import COptions, c, symbol
from aetool.deploy.web import web

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
CHROMIUM = "WebAssembly in Chromium"
"""The page of `aetool deploy web`, not C that was compiled for it."""

_HASH_IN_PAGE = """
async ({ graphs, rows, odd, deciding }) => {
  const { load } = await import("./aetool.mjs");
  const model = await load();
  const words = [];
  const add = ({ data }) => {
    if (!(data instanceof Float32Array)) return void words.push(Number(data[0])); // a decision
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    data.forEach((value, i) => words.push(Number.isNaN(value) ? 0x7fc00000 : bits[i]));
  };
  const numbers = (row) => Float32Array.from(row, Number);
  for (let i = 0; i < rows.features.length; i += 1) {
    for (const graph of graphs) {
      const row = rows[graph === "decoder" ? "embedding" : "features"][i];
      Object.values(await model.run(graph, numbers(row))).forEach(add);
    }
  }
  for (const row of odd) {
    for (const graph of deciding) Object.values(await model.run(graph, numbers(row))).forEach(add);
  }
  const digest = await crypto.subtle.digest("SHA-256", Uint32Array.from(words));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
"""


def deployed(bundle: Bundle, precision: str, path: Path, graphs: Sequence[str] = ("detector",)) -> Path:
    """Write the C of a bundle's detector, or of other graphs."""
    publish_directory(path, c(bundle, tuple(graphs), COptions(int8=precision == "int8")).files)
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


def hashed_in_chromium(bundle: Bundle, source: Path, graphs: Sequence[str] = ("detector",)) -> str:
    """Return the hash of what the page's core gives for the rows of check.c, made as check.c makes it."""
    header = (source / f"{symbol(bundle)}_golden.h").read_text(encoding="utf-8")
    rows = {
        kind: _rows_in(header, f"golden_{kind}")
        for kind in ("features", "embedding")
        if f"golden_{kind}[" in header
    }
    deciding = [graph for graph in graphs if graph in ("detector", "segmenter")]
    given = {"graphs": graphs, "rows": rows, "odd": _rows_in(header, "odd_features"), "deciding": deciding}
    with hosts.deployed(web(bundle)) as folder, hosts.served(folder) as url, hosts.browser() as chromium:
        page = chromium.new_page()
        page.goto(url)
        return str(page.evaluate(_HASH_IN_PAGE, given))


def _rows_in(header: str, name: str) -> list[list[str]]:
    """Return an array of NAME_golden.h as rows of what JavaScript's Number reads."""
    count = re.search(rf"#define {'ODD' if name.startswith('odd') else 'GOLDEN'}_ROWS (\d+)", header)
    found = re.search(rf"float {name}\[\d+\] = {{(.*?)}};", header, re.DOTALL)
    assert count and found, name
    text = found[1].replace("INFINITY", "Infinity").replace("NAN", "NaN")
    numbers = [number.strip().removesuffix("f") for number in text.split(",")]
    width = len(numbers) // int(count[1])
    return [numbers[start : start + width] for start in range(0, len(numbers), width)]


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
            if absent := hosts.missing("Chromium"):
                print(f"{CHROMIUM}: not run, {absent}")
            elif precision == "fp32":
                hashes[CHROMIUM] = hashed_in_chromium(bundle, source)
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
        how = {title: target.how for title, target in TARGETS.items()} | {CHROMIUM: "run"}
        save("chips", {"targets": how}, results)


if __name__ == "__main__":
    main()
