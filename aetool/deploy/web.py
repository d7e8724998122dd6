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
from aetool.choices import Engine
from aetool.deploy._core_js import programs_of
from aetool.deploy._deployment import Deployment, asset, bundle_files
from aetool.errors import DependencyError, ExportError, InputError

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


MODULES = ("categories.mjs", "golden.mjs", "explanation.mjs", "stream.mjs", "autoencoder.mjs")
"""Modules that Node uses too, in the order in which they import each other."""
_PAGE = ("page.mjs", "live.mjs", "notation.mjs", "csv.mjs")
_IMPORTS = re.compile(r'^import [^;]* from "\./[^"]+";\n', re.MULTILINE)
_EXPORTS = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)|^export \{[^}]*\};\n", re.MULTILINE)


def web(bundle: Bundle, onnxruntime: Path | None = None, engine: Engine | None = None) -> Deployment:
    """Make a directory for any web server: a page, the module `aetool.mjs`, and the bundle.

    Args:
        bundle: the bundle.
        onnxruntime: the npm package onnxruntime-web, unpacked; by default found or fetched, if it is needed.
        engine: by default the core, if it computes all graphs and no `onnxruntime` is given.

    Raises:
        InputError, DependencyError: onnxruntime-web cannot be had, see `onnxruntime_web`.
        ExportError: the core was asked for, and lacks something.
    """
    programs = _programs(bundle, onnxruntime, engine)
    if programs is None:
        runtime = onnxruntime_web(onnxruntime)
        runs_on, module = _runs_on(runtime), "aetool.web.mjs"
        computing = {f"onnxruntime/{SCRIPT}": runtime.script, f"onnxruntime/{WASM}": runtime.wasm}
    else:
        runs_on, module = _CORE, "aetool.web.core.mjs"
        computing = {name: asset(f"javascript/{name}") for name in ("core.mjs", "core.wasm")}
        computing |= {f"programs/{graph}.core": content for graph, content in programs.items()}
    page = _page(
        bundle,
        csp="default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        style='<link rel="stylesheet" href="page.css">',
        scripts='<script type="module" src="page.mjs"></script>',
        runs_on=runs_on,
    )
    files = {
        "index.html": page,
        "page.css": asset("javascript/page.css"),
        "aetool.mjs": asset(f"javascript/{module}"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{name: asset(f"javascript/{name}") for name in (*_PAGE, *MODULES)},
        **computing,
        **{f"model/{name}": content for name, content in bundle_files(bundle).items()},
    }
    return Deployment(files, "python3 -m http.server --directory {output}")


def web_page(bundle: Bundle, onnxruntime: Path | None = None, engine: Engine | None = None) -> Deployment:
    """Make the same page as one file, `index.html`, that works when it is opened from the disk.

    Raises:
        InputError, DependencyError, ExportError: as of `web`.
    """
    programs = _programs(bundle, onnxruntime, engine)
    files = bundle_files(bundle)
    script_from = "'unsafe-inline' 'wasm-unsafe-eval'"
    scripts: list[str] = []
    own: tuple[str, ...]
    if programs is None:
        runtime = onnxruntime_web(onnxruntime)
        runs_on, own = _runs_on(runtime), ("aetool.single.mjs",)
        data = {WASM: runtime.wasm, **{f"model/{name}": content for name, content in files.items()}}
        address = f"data:text/javascript;base64,{base64.b64encode(runtime.script).decode()}"
        imports = f'{{"imports": {{"onnxruntime-web": {escape.javascript(address)}}}}}'
        scripts.append(f'<script type="importmap">{imports}</script>')
        script_from += " data:"
    else:
        runs_on, own = _CORE, ("core.mjs", "aetool.single.core.mjs")
        data = {"core.wasm": asset("javascript/core.wasm")}
        data |= {f"programs/{graph}.core": content for graph, content in programs.items()}
        # The page reads programs in the place of graphs.
        data |= {f"model/{name}": content for name, content in files.items() if not name.endswith(".onnx")}
    names = (*MODULES, *own[:-1], "notation.mjs", "csv.mjs", "live.mjs", own[-1], "page.mjs")
    modules = [asset(f"javascript/{name}").decode() for name in names]
    program = "\n".join(_EXPORTS.sub("", _IMPORTS.sub("", module)) for module in modules)
    page = _page(
        bundle,
        csp=f"default-src 'none'; script-src {script_from}; style-src 'unsafe-inline'; "
        "connect-src 'none'; img-src data:; base-uri 'none'; form-action 'none'",
        style=f"<style>\n{asset('javascript/page.css').decode()}</style>",
        scripts="\n".join(
            [
                *(_data_script(name, content) for name, content in data.items()),
                *scripts,
                f'<script type="module">\n{program}</script>',
            ]
        ),
        runs_on=runs_on,
    )
    return Deployment({"index.html": page}, "open {output} in a browser")


_CORE = "aetool's core"


def _runs_on(runtime: OnnxruntimeWeb) -> str:
    return f"ONNX Runtime Web {escape.html(runtime.version)}\n  (Microsoft, MIT License)"


def _programs(bundle: Bundle, onnxruntime: Path | None, engine: Engine | None) -> dict[str, bytes] | None:
    """Return the programs of the core; None where onnxruntime-web is to compute."""
    if engine == "onnxruntime" or (onnxruntime is not None and engine is None):
        return None
    programs = programs_of(bundle)
    if programs is None and engine == "core":
        raise ExportError(f"{bundle.path}: aetool's core lacks an operator of a graph; use --engine onnxruntime")
    return programs


def _page(bundle: Bundle, **parts: str) -> bytes:
    return asset("javascript/index.html", title=escape.html(bundle.manifest.name), **parts)


def _data_script(name: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f'<script type="application/octet-stream" data-file="{escape.html(name)}">{packed}</script>'
