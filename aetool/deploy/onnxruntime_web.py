"""The two files of the npm package onnxruntime-web that a page needs: from a directory, the cache, or npm."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aetool.errors import DependencyError, InputError
from aetool.storage import publish_file

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as npm gives it (Subresource Integrity)."""
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
PURPOSE = "deploying to the web"


@dataclass(frozen=True, slots=True)
class OnnxruntimeWeb:
    script: bytes
    """The JavaScript module."""
    wasm: bytes
    """WebAssembly."""
    version: str


def onnxruntime_web(directory: Path | None = None) -> OnnxruntimeWeb:
    """The package in `directory`; else in ./node_modules; else in the cache; else from npm, into the cache.

    Raises:
        InputError: `directory` does not hold it.
        DependencyError: there is no npm, or it cannot fetch the package.
    """
    installed = Path("node_modules") / "onnxruntime-web"
    if directory is not None or installed.is_dir():
        return _from_directory(directory or installed)
    cached = _cache() / f"onnxruntime-web-{VERSION}.tgz"
    if not cached.is_file() or _integrity(cached.read_bytes()) != INTEGRITY:
        publish_file(cached, _from_npm(), overwrite=True)
    with tarfile.open(fileobj=io.BytesIO(cached.read_bytes())) as archive:
        script, wasm = (
            member.read() if (member := archive.extractfile(f"package/dist/{name}")) else b""
            for name in (SCRIPT, WASM)
        )
    return OnnxruntimeWeb(script, wasm, VERSION)


def _from_directory(directory: Path) -> OnnxruntimeWeb:
    try:
        version = json.loads((directory / "package.json").read_text(encoding="utf-8"))["version"]
        script, wasm = ((directory / "dist" / name).read_bytes() for name in (SCRIPT, WASM))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{directory}: the npm package onnxruntime-web is expected, with package.json, dist/{SCRIPT} and "
            f"dist/{WASM} ({error}); give the directory that npm install made, node_modules/onnxruntime-web"
        ) from error
    return OnnxruntimeWeb(script, wasm, str(version))


def _from_npm() -> bytes:
    name = f"onnxruntime-web@{VERSION}"
    npm = shutil.which("npm")
    if npm is None:
        raise DependencyError(
            "npm", "deploy", PURPOSE, "install Node.js, or give the unpacked package with --onnxruntime-web DIR"
        )
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        packed = subprocess.run(
            [npm, "pack", name, "--silent", "--pack-destination", folder],
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or len(archives) != 1:
            reason = " ".join(packed.stderr.split())[-200:] or f"exit code {packed.returncode}"
            raise DependencyError(
                f"the npm package {name}", "deploy", PURPOSE,
                f"npm pack could not fetch it ({reason}); fetch it elsewhere and give --onnxruntime-web DIR",
            )  # fmt: skip
        content = archives[0].read_bytes()
    if (found := _integrity(content)) != INTEGRITY:
        raise DependencyError(
            f"the npm package {name}", "deploy", PURPOSE,
            f"npm gave an archive with the hash {found}, {INTEGRITY} was expected; do not use it, and look at "
            "what registry npm is set to",
        )  # fmt: skip
    return content


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "aetool"
