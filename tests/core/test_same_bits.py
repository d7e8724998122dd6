"""One SHA-256 over the outputs of four models' golden rows, for every kind of vectors, compiler and flag."""

import hashlib
import importlib.util
import os
import shutil
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_graphs import program_of, rows_for, small_bundles
from specified import bits, compiled, specified

from aetool.core.program import Program

pytest.importorskip("aetool.core._native", reason="the core is not compiled here")
ROOT = Path(__file__).parents[2]
DIGEST = "c5badfc130e58a1ce550b8242575c4e6681b4c9df4e8bab7afc9976989843c2d"
"""A change of the arithmetic changes it, and every result of the core: docs/core.md and CHANGELOG.md say so."""
LONG = os.environ.get("AETOOL_LONG") == "1"
BUILDS = [("clang", ("-O0",))]
if LONG:
    BUILDS += [(compiler, (flag,)) for compiler in ("gcc", "clang") for flag in ("-O0", "-O1", "-O2", "-O3")]
    BUILDS += [(compiler, ("-O3", "-march=native")) for compiler in ("gcc", "clang")]  # with fused multiply-add


@pytest.fixture(scope="module")
def work() -> list[tuple[Program, Any]]:
    """(program, golden rows) of all graphs of four models."""
    folder = ROOT / "exported" / "breast-cancer"
    with np.load(folder / "golden.npz") as archive:
        golden = dict(archive)
    found = []
    for name in ("encoder", "decoder", "autoencoder", "detector", "explainer"):
        rows = golden["embedding" if name == "decoder" else "features"]
        found.append((program_of((folder / f"{name}.onnx").read_bytes(), rows.shape[1:]), rows))
    for content, row in small_bundles():
        found.append((program_of(content, row), rows_for(row)))
    return found


def digest(outputs: Any) -> str:
    """Return the SHA-256 of outputs, every NaN the same."""
    found = hashlib.sha256()
    for output in outputs:
        found.update(bits(output).astype("<u4").tobytes())
    return found.hexdigest()


def loaded(path: Path) -> Any:
    """Return an extension module from a file that nobody else imports."""
    spec = importlib.util.spec_from_file_location(
        "_native", path, loader=ExtensionFileLoader("_native", str(path))
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat(rows: Any) -> Any:
    return np.ascontiguousarray(rows.reshape(len(rows), -1), np.float32)


def digests(module: Any, work: list[tuple[Program, Any]]) -> dict[str, str]:
    return {
        kind: digest(output for program, rows in work for output in compiled(module, kind, program, flat(rows)))
        for kind in module.variants()
    }


def test_the_page_itself_gives_the_digest(work):
    assert digest(output for program, rows in work for output in specified(program, flat(rows))) == DIGEST


def test_every_kind_of_vectors_gives_the_digest(work):
    from aetool.core import _native

    found = digests(_native, work)
    assert "plain" in found and set(found.values()) == {DIGEST}


@pytest.mark.parametrize(
    ("compiler", "flags"), BUILDS, ids=lambda value: value if isinstance(value, str) else "".join(value)
)
def test_every_compiler_and_optimisation_gives_the_digest(compiler, flags, work, tmp_path):
    build = pytest.importorskip("aetool.core._build").build  # not in a wheel
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    build(tmp_path / "_native.abi3.so", compiler, flags)
    found = digests(loaded(tmp_path / "_native.abi3.so"), work)
    assert "plain" in found and set(found.values()) == {DIGEST}


def test_the_digest_sees_one_bit(work):
    program, rows = work[0]
    outputs = specified(program, flat(rows))
    before = digest(outputs)
    outputs[0].view(np.uint32)[5, 7] ^= 1
    assert digest(outputs) != before
