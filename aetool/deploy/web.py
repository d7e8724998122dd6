"""A page and a JavaScript module that run a bundle in the browser, with the files of onnxruntime-web."""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aetool.bundle import escape
from aetool.bundle.atomic import publish_file
from aetool.bundle.bundle import Bundle
from aetool.deploy._deployment import Deployment, asset, bundle_files
from aetool.errors import DependencyError, InputError

# The two files of the npm package onnxruntime-web that a page needs: from a directory, the cache, or npm.

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Hash of the package's archive, as npm gives it (Subresource Integrity)."""
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_PURPOSE = "deploying to the web"


@dataclass(frozen=True, slots=True)
class OnnxruntimeWeb:
    """Files of onnxruntime-web that a page needs."""

    script: bytes
    """JavaScript module."""
    wasm: bytes
    """WebAssembly."""
    version: str


def onnxruntime_web(directory: Path | None = None) -> OnnxruntimeWeb:
    """Return the package in `directory`; else in ./node_modules; else in the cache; else from npm, into the cache.

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
            "npm", "deploy", _PURPOSE, "install Node.js, or give the unpacked package with --onnxruntime-web DIR"
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
                f"the npm package {name}", "deploy", _PURPOSE,
                f"npm pack could not fetch it ({reason}); fetch it elsewhere and give --onnxruntime-web DIR",
            )  # fmt: skip
        content = archives[0].read_bytes()
    if (found := _integrity(content)) != INTEGRITY:
        raise DependencyError(
            f"the npm package {name}", "deploy", _PURPOSE,
            f"npm gave an archive with the hash {found}, {INTEGRITY} was expected; do not use it, and look at "
            "what registry npm is set to",
        )  # fmt: skip
    return content


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "aetool"


MODULES = ("categories.mjs", "golden.mjs", "explanation.mjs", "autoencoder.mjs")
"""Modules that Node uses too, in the order in which they import each other."""
_IMPORTS = re.compile(r'^import [^;]* from "\./[^"]+";\n', re.MULTILINE)
_EXPORTS = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)|^export \{[^}]*\};\n", re.MULTILINE)


def web(bundle: Bundle, onnxruntime: Path | None = None) -> Deployment:
    """Make a directory for any web server: a page, the module `aetool.mjs`, and the bundle.

    Raises:
        InputError, DependencyError: onnxruntime-web cannot be had, see `onnxruntime_web`.
    """
    runtime = onnxruntime_web(onnxruntime)
    page = _page(
        bundle,
        runtime,
        csp="default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        style='<link rel="stylesheet" href="page.css">',
        scripts='<script type="module" src="page.mjs"></script>',
    )
    files = {
        "index.html": page,
        "page.css": asset("javascript/page.css"),
        "aetool.mjs": asset("javascript/aetool.web.mjs"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{name: asset(f"javascript/{name}") for name in ("page.mjs", "notation.mjs", "csv.mjs", *MODULES)},
        f"onnxruntime/{SCRIPT}": runtime.script,
        f"onnxruntime/{WASM}": runtime.wasm,
        **{f"model/{name}": content for name, content in bundle_files(bundle).items()},
    }
    return Deployment(files, "python3 -m http.server --directory {output}")


def web_page(bundle: Bundle, onnxruntime: Path | None = None) -> Deployment:
    """Make the same page as one file, `index.html`, that works when it is opened from the disk.

    Raises:
        InputError, DependencyError: onnxruntime-web cannot be had, see `onnxruntime_web`.
    """
    runtime = onnxruntime_web(onnxruntime)
    modules = [
        asset(f"javascript/{name}").decode()
        for name in (*MODULES, "notation.mjs", "csv.mjs", "aetool.single.mjs", "page.mjs")
    ]
    program = "\n".join(_EXPORTS.sub("", _IMPORTS.sub("", module)) for module in modules)
    data = {WASM: runtime.wasm, **{f"model/{name}": content for name, content in bundle_files(bundle).items()}}
    address = f"data:text/javascript;base64,{base64.b64encode(runtime.script).decode()}"
    scripts = [
        *(_data_script(name, content) for name, content in data.items()),
        f'<script type="importmap">{{"imports": {{"onnxruntime-web": {escape.javascript(address)}}}}}</script>',
        f'<script type="module">\n{program}</script>',
    ]
    page = _page(
        bundle,
        runtime,
        csp="default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' data:; style-src 'unsafe-inline'; "
        "connect-src 'none'; img-src data:; base-uri 'none'; form-action 'none'",
        style=f"<style>\n{asset('javascript/page.css').decode()}</style>",
        scripts="\n".join(scripts),
    )
    return Deployment({"index.html": page}, "open {output} in a browser")


def _page(bundle: Bundle, runtime: OnnxruntimeWeb, **parts: str) -> bytes:
    title = escape.html(bundle.manifest.name)
    return asset("javascript/index.html", title=title, version=escape.html(runtime.version), **parts)


def _data_script(name: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f'<script type="application/octet-stream" data-file="{escape.html(name)}">{packed}</script>'
