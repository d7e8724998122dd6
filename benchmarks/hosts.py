"""Every host that a bundle can be deployed to, each run on the golden rows: graph -> output -> array.

What npm and pip bring for them lies in .hosts, made by `make .hosts`; node, chromium and gcc are the system's.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

import aetool
from aetool.bundle.atomic import publish_directory
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.deploy._deployment import Deployment, in_order
from aetool.deploy.c import VERBS, c, symbol
from aetool.deploy.mobile import mobile
from aetool.deploy.node import node
from aetool.deploy.web import web
from aetool.errors import ExportError
from aetool.runtime.providers import onnxruntime

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / ".hosts"
NODE_MODULES = INSTALLED / "node_modules"
TRITON_PYTHON = INSTALLED / "venv" / "bin" / "python"
STRICT_C = ("-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
Outputs = dict[str, dict[str, NDArray[Any]]]

# The same in Node and in the browser: every graph on its golden rows, as JSON.
_RUN_ALL = """
const model = await load();
const found = {};
for (const graph of model.graphs) {
  const outputs = await model.run(graph, Float32Array.from(rows[graph]));
  found[graph] = Object.fromEntries(
    Object.entries(outputs).map(([name, { data, dims }]) => [name, { data: Array.from(data, String), dims }]));
}
"""


def missing(host: str) -> str:
    """What must be installed for `host`; empty if nothing."""
    needed: dict[str, list[tuple[str, bool]]] = {
        "Node": [("node", _has("node")), ("onnxruntime-node", (NODE_MODULES / "onnxruntime-node").is_dir())],
        "Chromium": [
            ("chromium", _has("chromium")),
            ("onnxruntime-web", (NODE_MODULES / "onnxruntime-web").is_dir()),
        ],
        "esbuild": [("node", _has("node")), ("esbuild", (NODE_MODULES / "esbuild").is_dir())],
        "generated C": [("gcc", _has("gcc"))],
        "clang": [("clang", _has("clang"))],
        "C++": [("g++", _has("g++"))],
        "CMake": [("cmake", _has("cmake"))],
        "Triton": [("tritonclient", TRITON_PYTHON.exists())],
    }
    return ", ".join(name for name, there in needed.get(host.partition(",")[0], []) if not there)


def _has(program: str) -> bool:
    return shutil.which(program) is not None


def torch_float64(bundle: Bundle) -> Outputs:
    """What golden.npz holds: PyTorch in float64, when the bundle was exported."""
    golden = read_golden(bundle)
    return {
        graph: {name: golden[name] for name in _output_names(bundle, graph) if name in golden}
        for graph in in_order(bundle)
    }


def reference_evaluator(bundle: Bundle) -> Outputs:
    found = {}
    for graph, rows in _rows(bundle).items():
        evaluator = ReferenceEvaluator(onnx.load_from_string(bundle.graph(graph)))
        values = evaluator.run(None, {evaluator.input_names[0]: rows})
        found[graph] = dict(zip(evaluator.output_names, values, strict=True))
    return found


def onnxruntime_cpu(bundle: Bundle) -> Outputs:
    with aetool.load(bundle.path, provider="cpu") as model:
        return {graph: dict(model.run(graph, rows)) for graph, rows in _rows(bundle).items()}


def ort_format(bundle: Bundle) -> Outputs:
    made = mobile(bundle)
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ORT")
    found = {}
    for graph, rows in _rows(bundle).items():
        content = made.files[f"{graph}.ort"]
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found[graph] = dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))
    return found


def in_node(bundle: Bundle) -> Outputs:
    with deployed(node(bundle)) as folder:
        (folder / "node_modules").symlink_to(NODE_MODULES)
        (folder / "rows.json").write_text(json.dumps(_flat_rows(bundle)), encoding="utf-8")
        script = (
            'import { readFileSync } from "node:fs";\nimport { load } from "./aetool.mjs";\n'
            f'const rows = JSON.parse(readFileSync("rows.json"));{_RUN_ALL}console.log(JSON.stringify(found));\n'
        )
        (folder / "all.mjs").write_text(script, encoding="utf-8")
        return _from_json(json.loads(run("node", "all.mjs", cwd=folder)))


def in_chromium(bundle: Bundle) -> Outputs:
    """On the core, where it computes all graphs, as `aetool deploy web` chooses."""
    try:
        made = web(bundle, engine="core")
    except ExportError:
        return onnxruntime_web(bundle)
    return _in_page(bundle, made)


def onnxruntime_web(bundle: Bundle) -> Outputs:
    return _in_page(bundle, web(bundle, NODE_MODULES / "onnxruntime-web"))


def _in_page(bundle: Bundle, made: Deployment) -> Outputs:
    with deployed(made) as folder, served(folder) as url, browser() as chromium:
        page = chromium.new_page()
        page.goto(url)
        # As text, both ways: Playwright takes numbers over one by one, which takes seconds.
        script = (
            'async (text) => { const rows = JSON.parse(text); const { load } = await import("./aetool.mjs");'
            f"{_RUN_ALL}return JSON.stringify(found); }}"
        )
        return _from_json(json.loads(page.evaluate(script, json.dumps(_flat_rows(bundle)))))


def in_c(bundle: Bundle) -> Outputs:
    graphs = ("autoencoder", "detector")  # which give every output
    with deployed(c(bundle, graphs)) as folder:
        build_c(folder, bundle)
        rows = _rows(bundle)
        return {graph: run_c(folder, bundle, graph, rows[graph]) for graph in graphs}


HOSTS: Mapping[str, Callable[[Bundle], Outputs]] = {
    "PyTorch, float64": torch_float64,
    "ONNX ReferenceEvaluator": reference_evaluator,
    "onnxruntime, CPU": onnxruntime_cpu,
    "ORT format": ort_format,
    "Node": in_node,
    "Chromium": in_chromium,
    "Chromium, ONNX Runtime Web": onnxruntime_web,
    "generated C": in_c,
}


@contextlib.contextmanager
def deployed(deployment: Deployment) -> Iterator[Path]:
    """The directory, for a while."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "deployed")
        publish_directory(path, deployment.files)
        yield path


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server for static files, as any other; gives its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


def c_sources(folder: Path) -> list[str]:
    """Names of the C files that a firmware takes."""
    return sorted(path.name for path in folder.glob("aetool_*.c"))


def build_c(folder: Path, bundle: Bundle) -> None:
    """Compile every graph, and a program `all` that runs one of them on rows from stdin."""
    header = folder / f"{_c_name(bundle)}.h"
    functions = re.findall(r"^void (\w+)\((.*)\);$", header.read_text(encoding="utf-8"), re.MULTILINE)
    (folder / "all.c").write_text(_c_program(header.name, functions), encoding="utf-8")
    sources = sorted(path.name for path in folder.glob(f"{_c_name(bundle)}_*.c"))
    # Not to be loaded anywhere: a microcontroller's constants with addresses in them are constants.
    run("gcc", *STRICT_C, "-fno-pie", "-fstack-usage", "-c", *sources, cwd=folder)
    objects = [name.replace(".c", ".o") for name in sources]
    run(
        "gcc", *STRICT_C, "-D_POSIX_C_SOURCE=199309L", "-no-pie", "-o", "all", "all.c", *objects, "-lm", cwd=folder
    )


def run_c(folder: Path, bundle: Bundle, graph: str, rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """`rows` through one graph of what `build_c` made."""
    done = subprocess.run(
        [folder / "all", f"{_c_name(bundle)}_{VERBS[graph]}"],
        input=np.ascontiguousarray(rows, dtype=np.float32).tobytes(), capture_output=True, check=True,
    )  # fmt: skip
    manifest = bundle.manifest
    shapes = {"score": (), "is_anomaly": (), "segment": (), "distance": (manifest.segments.get("clusters"),)}
    shapes |= {"reconstruction": manifest.input_shape, "contribution": manifest.input_shape}
    shapes["embedding"] = manifest.embedding_shape or ()
    names = _output_names(bundle, graph)
    kinds = [(name, {"is_anomaly": "?", "segment": "<i8"}.get(name, "<f4"), shapes[name]) for name in names]
    table = np.frombuffer(done.stdout, dtype=np.dtype(kinds))
    return {name: table[name] for name in names}


def time_c(folder: Path, bundle: Bundle, graph: str, row: NDArray[np.float32], calls: int) -> float:
    """Seconds of CPU time of one call, the mean of `calls`."""
    name = f"{_c_name(bundle)}_{VERBS[graph]}"
    done = subprocess.run(
        [folder / "all", name, str(calls)], input=row.astype(np.float32).tobytes(), capture_output=True, check=True
    )
    return float(done.stderr)


def c_figures(folder: Path, bundle: Bundle, graph: str) -> dict[str, int]:
    """Bytes of code and constants (size), and of stack (gcc -fstack-usage, the whole chain of calls)."""
    name = f"{_c_name(bundle)}_{graph}"
    text, data, bss = run("size", f"{name}.o", cwd=folder).splitlines()[1].split()[:3]
    usage = (folder / f"{name}.su").read_text(encoding="utf-8").splitlines()
    return {
        "flash": int(text) + int(data),
        "static_ram": int(data) + int(bss),
        "stack": sum(int(line.split("\t")[1]) for line in usage),
    }


def run(*command: str, cwd: Path) -> str:
    """stdout of a program that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def _c_program(header: str, functions: list[tuple[str, str]]) -> str:
    cases = []
    for name, parameters in functions:
        (given, width), *outputs = re.findall(r"(\w+)\[(\d+)\]", parameters)
        types = re.findall(r"(\w+) \w+\[", parameters)[1:]
        buffers = "".join(
            f"        static {kind} {key}[{n}];\n" for kind, (key, n) in zip(types, outputs, strict=True)
        )
        call = f"{name}({', '.join([given, *(key for key, _ in outputs)])});"
        writes = "".join(f"            fwrite({key}, sizeof {key}, 1, stdout);\n" for key, _ in outputs)
        cases.append(
            f'    if (strcmp(argv[1], "{name}") == 0) {{\n        static float {given}[{width}];\n{buffers}'
            f"        while (fread({given}, sizeof {given}, 1, stdin) == 1) {{\n"
            f"            double start = now();\n            for (long i = 0; i < calls; ++i) {call}\n"
            '            if (calls > 1) fprintf(stderr, "%.9f\\n", (now() - start) / (double)calls);\n'
            f"{writes}        }}\n    }}\n"
        )
    return (
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <time.h>\n\n"
        f'#include "{header}"\n\n'
        "static double now(void) {\n    struct timespec t;\n    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);\n"
        "    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;\n}\n\n"
        "int main(int argc, char **argv) {\n    long calls = argc > 2 ? atol(argv[2]) : 1;\n"
        f"{''.join(cases)}    return 0;\n}}\n"
    )


def _c_name(bundle: Bundle) -> str:
    return symbol(bundle)


def _rows(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    golden = read_golden(bundle)
    return {
        graph: golden["embedding" if graph == "decoder" else "features"].astype(np.float32)
        for graph in in_order(bundle)
    }


def _flat_rows(bundle: Bundle) -> dict[str, list[float | str]]:
    """What JSON holds, and JavaScript takes as the same numbers."""
    names = {np.inf: "Infinity", -np.inf: "-Infinity"}
    return {
        graph: [value if np.isfinite(value) else names.get(value, "NaN") for value in rows.ravel().tolist()]
        for graph, rows in _rows(bundle).items()
    }


def _output_names(bundle: Bundle, graph: str) -> list[str]:
    return [output.name for output in onnx.load_from_string(bundle.graph(graph)).graph.output]


def _from_json(found: dict[str, Any]) -> Outputs:
    return {
        graph: {
            name: np.array([float(text) for text in value["data"]]).reshape(value["dims"])
            for name, value in outputs.items()
        }
        for graph, outputs in found.items()
    }
