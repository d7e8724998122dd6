"""No plan makes the C read or write outside its buffers: random plans under AddressSanitizer and UBSan."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CORE = Path(__file__).parents[2] / "aetool" / "core"
LONG = os.environ.get("AETOOL_LONG") == "1"
SANITIZED = (
    "-std=c99",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)
VECTORS: dict[str, tuple[str, ...]] = {
    "plain": ("-DAETOOL_PLAIN",),
    "avx2": ("-mavx2",),
    "avx512": ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"),
}
MUTATIONS = [
    ("place + count", "(place & PLACE_MASK) <= there - count", "(place & PLACE_MASK) <= there"),
    ("a bias", "holds(plan, step->c, m, 0);", "1;"),
    ("weights", "n * filled <= there - step->offset", "n * m <= there - step->offset"),
    ("filled up", "filled % 4 || ", ""),
    ("an index", "plan->indexes[step->offset + i] >= m", "plan->indexes[step->offset + i] > m"),
    ("indexes", "n > plan->n_indexes - (int64_t)step->offset", "n > plan->n_indexes"),
    ("a sum", "read_a = n * m;", "read_a = n;"),
    ("two operands", "m != 1 && m != n", "0"),
    ("a negative size", "n < 1 || m < 1", "n < 1"),
]
"""What is checked, how core.c says it, and the same without it."""


def flags_of(kind: str) -> tuple[str, ...] | None:
    """Return the flags of a kind of vectors that this processor has."""
    if not kind or kind == "plain":
        return VECTORS.get(kind, ())
    native: Any = pytest.importorskip("aetool.core._native", reason="the core is not compiled here")
    return VECTORS[kind] if kind in native.variants() else None


def fuzzer(folder: Path, core: Path, flags: tuple[str, ...]) -> Path:
    """Compile the fuzzer against the core.c of a folder."""
    compiler = shutil.which("gcc") or shutil.which("cc") or pytest.skip("no C compiler here")
    target = folder / "fuzz_plans"
    command = [compiler, *SANITIZED, *flags, f"-I{core}", str(HERE / "fuzz_plans.c"), "-o", str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode and "san" in made.stderr:
        pytest.skip(f"no sanitizers here: {made.stderr.splitlines()[0]}")
    assert made.returncode == 0, made.stderr
    return target


def fuzz(program: Path, seed: int, plans: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, str(seed), str(plans)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["", "plain", "avx2", "avx512"] if LONG else ["avx2"])
def test_random_plans_are_refused_or_stay_inside_their_buffers(kind, tmp_path):
    flags = flags_of(kind)
    if flags is None:
        pytest.skip(f"this processor has no {kind}")
    program = fuzzer(tmp_path, CORE, flags)
    for seed in range(20 if LONG else 1):
        done = fuzz(program, seed, 50_000 if LONG else 20_000)
        assert done.returncode == 0, done.stderr[:3000]
        ran, refused = map(int, re.findall(r"\d+", done.stdout))
        assert ran > refused > ran / 20  # both happen often


@pytest.mark.parametrize("mutation", MUTATIONS if LONG else MUTATIONS[:1], ids=lambda mutation: mutation[0])
def test_the_fuzzer_finds_a_check_that_is_missing(mutation, tmp_path):
    what, checked, unchecked = mutation
    source = (CORE / "core.c").read_text(encoding="utf-8")
    assert source.count(checked) == 1, what
    (tmp_path / "core.c").write_text(source.replace(checked, unchecked), encoding="utf-8")
    shutil.copy(CORE / "core.h", tmp_path)
    done = fuzz(fuzzer(tmp_path, tmp_path, ("-DAETOOL_PLAIN",)), 1, 100_000)
    assert done.returncode != 0 and re.search("AddressSanitizer|runtime error", done.stderr), what
