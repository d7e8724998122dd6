"""What the runtime's tests share: a small real bundle, one session on it, its golden vectors.

These tests pass with numpy, onnxruntime, pytest, hypothesis and the aetool wheel alone.
"""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import aetool
from aetool.bundle.files import sha256

EXPORTED = Path(__file__).parents[1] / "exported" / "breast-cancer"

settings.register_profile(
    "runtime", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("runtime")


@pytest.fixture(scope="session")
def exported() -> Path:
    """The bundle of this repository; not to be written to."""
    return EXPORTED


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(EXPORTED, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def model(request) -> aetool.AutoencoderSession:
    return aetool.load(EXPORTED, provider=getattr(request, "param", "cpu"))


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    with np.load(EXPORTED / "golden.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def rows(golden: dict[str, np.ndarray]) -> np.ndarray:
    """Real rows, (84, 30) float32; read-only, so that no test can spoil them for another."""
    features = golden["features"].copy()
    features.flags.writeable = False
    return features


@pytest.fixture(scope="session")
def many(rows: np.ndarray) -> np.ndarray:
    """Varied real rows, more than three chunks of them."""
    spread = np.random.default_rng(0).normal(1, 0.05, (5000, rows.shape[1]))
    return (np.resize(rows, spread.shape) * spread).astype(np.float32)


@pytest.fixture
def rewrite() -> Callable[..., None]:
    """rewrite(bundle, change, **files): change the manifest, and replace files together with their hashes."""

    def apply(path: Path, change: Callable[[dict[str, Any]], Any] | None = None, **files: bytes) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        for stem, content in files.items():
            name = next(name for name in manifest["files"] if name.startswith(stem))
            (path / name).write_bytes(content)
            manifest["files"][name] = {"sha256": sha256(content), "size": len(content)}
        if change is not None:
            change(manifest)
        (path / "manifest.json").write_text(json.dumps(manifest))

    return apply


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter, outside of the repository; a hang fails the test."""

    def run(script: str, *arguments: object, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "script.py"
        file.write_text(script)
        return subprocess.run(
            [sys.executable, file, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            check=False,
        )

    return run


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(name="npz")
def _npz() -> Callable[..., bytes]:
    return npz
