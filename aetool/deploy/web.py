"""A page and a JavaScript module that run a bundle in the browser, with the files of onnxruntime-web."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aetool.bundle import escape
from aetool.bundle.atomic import publish_file
from aetool.bundle.bundle import Bundle
from aetool.bundle.images import shown_shape
from aetool.choices import Engine
from aetool.deploy._core_js import programs_of
from aetool.deploy._deployment import Deployment, asset, bundle_files
from aetool.deploy._packed import core_files, packed, packed_module
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
CORE_MODULES = ("core.mjs", "packed.mjs")
"""Modules besides for the core."""
CORE_ENTRY = "aetool.core.mjs"
"""What becomes `aetool.mjs` where the core computes."""
_OF_SERIES = ("stream.mjs", "log.mjs", "moments.mjs", "live.mjs")
"""Modules that only the bundle of a series calls."""
_OF_IMAGES = ("images.mjs",)
"""Modules that only the page of images calls."""
_PAGE_MODULES = (
    "notation.mjs",
    "csv.mjs",
    "log.mjs",
    "moments.mjs",
    "live.mjs",
    "images.mjs",
    "worker.mjs",
    "page.mjs",
)
_ORT = "onnxruntime-web"
_PROGRAM = "page.mjs"
"""Names of scripts among the packed files of a page."""
_IMPORTS = re.compile(r'^import [^;]* from "\./[^"]+";\n', re.MULTILINE)
_EXPORTS = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)|^export \{[^}]*\};\n", re.MULTILINE)
_COMMENTS = re.compile(r"^ *(?:/\*\*(?:(?!\*/).)*\*/|//[^\n]*)\n", re.MULTILINE | re.DOTALL)
_LOADING = (
    "Loading. If this stays: the page must come from a web server (<code>python3 -m http.server</code>), "
    "or be made with <code>--single-file</code>."
)
_NOTHING_ELSE = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"


def web(
    bundle: Bundle, onnxruntime: Path | None = None, engine: Engine | None = None, precision: str = "fp32"
) -> Deployment:
    """Make a directory for any web server: a page, the module `aetool.mjs`, and the model.

    Args:
        bundle: the bundle.
        onnxruntime: the npm package onnxruntime-web, unpacked; by default found or fetched, if it is needed.
        engine: by default the core, if it computes all graphs and no `onnxruntime` is given.
        precision: fp32, or bf16 of a bundle that has it, on the core.

    Raises:
        InputError, DependencyError: onnxruntime-web cannot be had, see `onnxruntime_web`.
        BundleError: the bundle does not have that precision.
        ExportError: the core was asked for, and lacks something.
    """
    programs = core_programs(bundle, engine, precision, other=onnxruntime is not None)
    if programs is None:
        runtime = onnxruntime_web(onnxruntime)
        runs_on, module, connect = _runs_on(runtime), "aetool.web.mjs", "'self'"
        computing = {f"onnxruntime/{SCRIPT}": runtime.script, f"onnxruntime/{WASM}": runtime.wasm}
        computing |= {f"model/{name}": content for name, content in bundle_files(bundle).items()}
    else:
        runs_on, module, connect = _on_core(precision), CORE_ENTRY, "'none'"
        computing = {name: asset(f"javascript/{name}") for name in CORE_MODULES}
        computing["model.mjs"] = packed_module(core_files(bundle, programs, precision))
    page = _page(
        bundle,
        csp=f"{_NOTHING_ELSE}; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
        f"connect-src {connect}",
        style='<link rel="stylesheet" href="page.css">',
        scripts='<script type="module" src="page.mjs"></script>',
        loading=_LOADING,
        runs_on=runs_on,
    )
    files = {
        "index.html": page,
        "page.css": asset("javascript/page.css"),
        "aetool.mjs": asset(f"javascript/{module}"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{name: asset(f"javascript/{name}") for name in (*_PAGE_MODULES, *MODULES)},
        **computing,
    }
    return Deployment(files, "python3 -m http.server --directory {output}")


def web_page(
    bundle: Bundle, onnxruntime: Path | None = None, engine: Engine | None = None, precision: str = "fp32"
) -> Deployment:
    """Make the same page as one file, `index.html`, that works when it is opened from the disk.

    Its program is packed as the model is. A short script unpacks it; the policy allows both by their hashes.

    Raises:
        InputError, DependencyError, BundleError, ExportError: as of `web`.
    """
    programs = core_programs(bundle, engine, precision, other=onnxruntime is not None)
    also, modules = "", {}
    own: tuple[str, ...]
    if programs is None:
        runtime = onnxruntime_web(onnxruntime)
        runs_on, own, also = _runs_on(runtime), ("packed.mjs", "aetool.single.mjs"), " data:"
        files = {f"{_ORT}.wasm": runtime.wasm, **bundle_files(bundle)}
        modules = {_ORT: f"data:text/javascript;base64,{base64.b64encode(runtime.script).decode()}"}
    else:
        runs_on, own = _on_core(precision), (*CORE_MODULES, CORE_ENTRY)
        files = core_files(bundle, programs, precision)
    # The page of a table plays no log and draws no images, and no other script calls its model.
    idle = (() if bundle.manifest.series else _OF_SERIES) + (() if shown_shape(bundle.manifest) else _OF_IMAGES)
    program = _inlined(name for name in (*MODULES, *own, *_PAGE_MODULES) if name not in idle)
    texts = {name: packed(content) for name, content in {_PROGRAM: program.encode(), **files}.items()} | modules
    opening = _inlined(("packed.mjs", "open.mjs"))
    style = asset("javascript/page.css").decode()
    page = _page(
        bundle,
        csp=f"{_NOTHING_ELSE}; script-src {_hashed(opening)} {_hashed(program)} 'wasm-unsafe-eval'{also}; "
        f"worker-src blob:; style-src {_hashed(style)}; connect-src 'none'",
        style=f"<style>{style}</style>",
        scripts=f'<script type="application/json" id="packed">{json.dumps(texts, indent=0)}</script>\n'
        f'<script type="module">{opening}</script>',
        loading="Loading …",
        runs_on=runs_on,
    )
    return Deployment({"index.html": page}, "open {output} in a browser")


def _inlined(names: Iterable[str]) -> str:
    """Return modules as one program, without comments and indentation."""
    texts = (asset(f"javascript/{name}").decode() for name in names)
    bare = "".join(_COMMENTS.sub("", _EXPORTS.sub("", _IMPORTS.sub("", text))) for text in texts)
    return re.sub("^ +|^\n", "", bare, flags=re.MULTILINE)


def _on_core(precision: str) -> str:
    return "aetool's core" + (f", weights in {precision}" if precision != "fp32" else "")


def _runs_on(runtime: OnnxruntimeWeb) -> str:
    return f"ONNX Runtime Web {escape.html(runtime.version)}\n  (Microsoft, MIT License)"


def _hashed(text: str) -> str:
    """Return a source of a Content-Security-Policy: this text in the page and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def core_programs(bundle: Bundle, engine: Engine | None, precision: str, *, other: bool = False) -> bytes | None:
    """Return the programs of the core; None where onnxruntime is to compute.

    Args:
        bundle: the bundle.
        engine: what was asked for.
        precision: that of the graphs.
        other: where nothing was asked for, onnxruntime computes.

    Raises:
        ExportError: the core was asked for, or has to compute, and lacks something.
    """
    if precision != "fp32" and (engine == "onnxruntime" or other):
        raise ExportError(f"{bundle.path}: {precision} runs on aetool's core only; leave --engine out")
    if engine == "onnxruntime" or (other and engine is None):
        return None
    programs = programs_of(bundle, precision)
    if programs is None and (engine == "core" or precision != "fp32"):
        instead = "use --engine onnxruntime" + (", in fp32" if precision != "fp32" else "")
        raise ExportError(f"{bundle.path}: aetool's core lacks an operator of a graph; {instead}")
    return programs


def _page(bundle: Bundle, **parts: str) -> bytes:
    return asset("javascript/index.html", title=escape.html(bundle.manifest.name), **parts)
