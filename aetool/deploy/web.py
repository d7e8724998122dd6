"""A page, and a JavaScript module, that run a bundle in the browser."""

import base64
import gzip
import re
from pathlib import Path

from aetool import escape
from aetool.bundle import Bundle
from aetool.deploy.deployment import Deployment, asset, bundle_files
from aetool.deploy.onnxruntime_web import SCRIPT, WASM, OnnxruntimeWeb, onnxruntime_web

MODULES = ("categories.mjs", "golden.mjs", "explanation.mjs", "autoencoder.mjs")
"""What Node uses too, in the order in which they import each other."""
_IMPORTS = re.compile(r'^import [^;]* from "\./[^"]+";\n', re.MULTILINE)
_EXPORTS = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)|^export \{[^}]*\};\n", re.MULTILINE)


def web(bundle: Bundle, onnxruntime: Path | None = None) -> Deployment:
    """A directory for any web server: a page, the module `aetool.mjs` for pages of one's own, and the bundle.

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
        **{name: asset(f"javascript/{name}") for name in ("page.mjs", "csv.mjs", *MODULES)},
        f"onnxruntime/{SCRIPT}": runtime.script,
        f"onnxruntime/{WASM}": runtime.wasm,
        **{f"model/{name}": content for name, content in bundle_files(bundle).items()},
    }
    return Deployment(files, "python3 -m http.server --directory {output}")


def web_page(bundle: Bundle, onnxruntime: Path | None = None) -> Deployment:
    """The same page as one file, `index.html`, that works when it is opened from the disk.

    Raises:
        InputError, DependencyError: onnxruntime-web cannot be had, see `onnxruntime_web`.
    """
    runtime = onnxruntime_web(onnxruntime)
    modules = [
        asset(f"javascript/{name}").decode() for name in (*MODULES, "csv.mjs", "aetool.single.mjs", "page.mjs")
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
