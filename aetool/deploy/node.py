"""An npm package that runs a bundle in Node: on aetool's core as WebAssembly, or on onnxruntime-node."""

import json

from aetool.bundle import escape
from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Series
from aetool.choices import Engine
from aetool.deploy._deployment import Deployment, asset, bundle_files, identifier
from aetool.deploy._packed import core_files, packed_module
from aetool.deploy.web import CORE_ENTRY, CORE_MODULES, MODULES, core_programs
from aetool.runtime.moments import EVENT_SMOOTHING

ONNXRUNTIME_NODE = "1.30.0"
_PROGRAMS = ("score.mjs", "check.mjs")
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
    series, by_row = bundle.manifest.series, bundle.manifest.row_threshold(precision) is not None
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
            **(_OF_TABLES if series is None else _of_series(series, by_row=by_row)),
        ),
        "aetool.mjs": asset(f"javascript/{'aetool.node.mjs' if programs is None else CORE_ENTRY}"),
        "aetool.d.mts": asset("javascript/aetool.d.ts"),
        **{
            name: asset(f"javascript/{name}")
            for name in (*_PROGRAMS, "notation.mjs", "csv.mjs", "log.mjs", "moments.mjs", *MODULES)
        },
    }
    if programs is None:
        files |= {f"model/{name}": content for name, content in bundle_files(bundle).items()}
    else:
        files |= {name: asset(f"javascript/{name}") for name in CORE_MODULES}
        files["model.mjs"] = packed_module(core_files(bundle, programs, precision, golden_bytes=None))
    install = "" if core else "ONNXRUNTIME_NODE_INSTALL=skip npm install && "
    return Deployment(files, f"cd {{output}} && {install}npm test", {"engine": _NAMES[core]})


def _of_series(series: Series, *, by_row: bool) -> dict[str, str]:
    """Return what the README says about a log and its stream."""
    columns = [f"`{escape.markdown(name)}`" for name in (series.time, series.group) if name is not None]
    asks = f" with {' and '.join(columns)} beside the channels" if columns else ""
    gap = f" of more than {series.gap:g} seconds" if series.gap else ""
    cut = [f"crosses a gap{gap}"] if series.time else []
    cut += ["goes from one machine to another"] if series.group else []
    crosses = f" No window {', or '.join(cut)}." if cut else ""
    smoothing = "With `--smooth 3/5`, it takes 3 of the last 5 rows above the threshold."
    if by_row:
        least, of = EVENT_SMOOTHING
        smoothing = f"It takes {least} of the last {of} rows above the threshold; with `--smooth 1/1`, one."
    log = f"""
`log.csv` is a log{asks}. It is cut into windows as `aetool score` cuts it.{crosses}
Each window is a line; with `--events` each stretch that is abnormal, with the channels that contribute most.
{smoothing}
"""
    anew = f"after more than {series.gap:g} s the window begins anew" if series.gap else "see also stream.reset()"
    stream = f"""const stream = model.stream(); // samples of one machine: scores as soon as windows are complete
await stream.push(sample, time); // Float32Array, mostly empty; time in seconds: {anew}
await stream.push(samples, times); // several at once, with a list of their times
"""
    return {
        "scored": "log.csv                      # or --events",
        "log": log,
        "stream": stream,
        "windows": f" Here a row is a window: {series.window} samples, the oldest first.",
    }


_OF_TABLES = {"scored": "rows.csv", "log": "", "stream": "", "windows": ""}
"""What the README says instead of it."""
