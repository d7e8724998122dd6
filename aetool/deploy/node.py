"""An npm package that runs a bundle in Node: on aetool's core as WebAssembly, or on onnxruntime-node."""

import json

from aetool.bundle import escape
from aetool.bundle.bundle import Bundle
from aetool.choices import Engine
from aetool.deploy._deployment import Deployment, asset, bundle_files, identifier
from aetool.deploy._packed import core_files, packed_module
from aetool.deploy.web import CORE_ENTRY, CORE_MODULES, MODULES, core_programs

ONNXRUNTIME_NODE = "1.30.0"
_NAMES = {True: "aetool's core", False: "ONNX Runtime"}


def node(bundle: Bundle, engine: Engine | None = None, precision: str = "fp32") -> Deployment:
    """Make the package: `aetool.mjs` to import, `score.mjs` and `check.mjs` to run, and the model.

    Args:
        bundle: the bundle.
        engine: by default the core, if it computes all graphs: then the package needs no other.
        precision: fp32, or bf16 of a bundle that has it, on the core.

    Raises:
        ExportError: the core was asked for, and lacks something.
        BundleError: the bundle does not have that precision.
    """
    programs = core_programs(bundle, engine, precision)
    core = programs is not None
    package = {
        "name": identifier(bundle.manifest.name).replace("_", "-"),
        "version": "1.0.0",
        "description": f"The autoencoder {escape.visible(bundle.manifest.name)}, on {_NAMES[core]}",
        "private": True,
        "type": "module",
        "exports": {".": {"types": "./aetool.d.mts", "default": "./aetool.mjs"}},
        "scripts": {"test": "node check.mjs"},
        "engines": {"node": ">=20.12"},
        "dependencies": {} if core else {"onnxruntime-node": ONNXRUNTIME_NODE},
    }
    files = {
        "package.json": (json.dumps(package, indent=2) + "\n").encode(),
        "README.md": asset(
            "javascript/README.node.md",
            name=escape.markdown(bundle.manifest.name),
            install="" if core else asset("javascript/install.node.txt").decode(),
        ),
        "aetool.mjs": asset(f"javascript/{'aetool.node.mjs' if programs is None else CORE_ENTRY}"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{
            name: asset(f"javascript/{name}")
            for name in ("score.mjs", "check.mjs", "notation.mjs", "csv.mjs", *MODULES)
        },
    }
    if programs is None:
        files |= {f"model/{name}": content for name, content in bundle_files(bundle).items()}
    else:
        files |= {name: asset(f"javascript/{name}") for name in CORE_MODULES}
        files["model.mjs"] = packed_module(core_files(bundle, programs, precision, golden_bytes=None))
    install = "" if core else "ONNXRUNTIME_NODE_INSTALL=skip npm install && "
    return Deployment(files, f"cd {{output}} && {install}npm test", {"engine": _NAMES[core]})
