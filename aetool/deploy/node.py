"""An npm package that runs a bundle in Node, on onnxruntime-node."""

import json

from aetool.bundle import escape
from aetool.bundle.bundle import Bundle
from aetool.deploy._deployment import Deployment, asset, bundle_files, identifier
from aetool.deploy.web import MODULES

ONNXRUNTIME_NODE = "1.30.0"


def node(bundle: Bundle) -> Deployment:
    """Make the package: `aetool.mjs` to import, `score.mjs` and `check.mjs` to run, and the bundle."""
    package = {
        "name": identifier(bundle.manifest.name).replace("_", "-"),
        "version": "1.0.0",
        "description": f"The autoencoder {escape.visible(bundle.manifest.name)}, on ONNX Runtime",
        "private": True,
        "type": "module",
        "exports": {".": {"types": "./aetool.d.mts", "default": "./aetool.mjs"}},
        "scripts": {"test": "node check.mjs"},
        "engines": {"node": ">=20.12"},
        "dependencies": {"onnxruntime-node": ONNXRUNTIME_NODE},
    }
    files = {
        "package.json": (json.dumps(package, indent=2) + "\n").encode(),
        "README.md": asset("javascript/README.node.md", name=escape.markdown(bundle.manifest.name)),
        "aetool.mjs": asset("javascript/aetool.node.mjs"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{
            name: asset(f"javascript/{name}")
            for name in ("score.mjs", "check.mjs", "notation.mjs", "csv.mjs", *MODULES)
        },
        **{f"model/{name}": content for name, content in bundle_files(bundle).items()},
    }
    return Deployment(files, "cd {output} && ONNXRUNTIME_NODE_INSTALL=skip npm install && npm test")
