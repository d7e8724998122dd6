"""Runtimes made for small devices as contestants at one row: tract, LiteRT, ExecuTorch (the extra `edge-peers`).

tract reads the bundle's ONNX graph. The others run what their own converters make of the checkpoint's PyTorch
module, a file for each graph, converted in another process before any contestant starts:

    python benchmarks/edge_peers.py {litert,executorch} CHECKPOINT GRAPH FILE

Each gets what is fastest for one row: graphs of the fixed shape of one row, one thread, a state or buffers kept
from call to call, and the API that took the least time. Rows and results are numpy arrays, as everybody's.
"""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

Phase = Callable[[str], AbstractContextManager[None]]
OUTPUT = {"encode": "embedding", "reconstruct": "reconstruction", "score": "score"}


class Peer(NamedTuple):
    modules: tuple[str, ...]
    """To run it and to convert for it."""
    package: str
    """The one that runs it, by its name on PyPI."""
    suffix: str | None
    """Of what its converter writes; None: it reads ONNX."""


PEERS = {
    "tract": Peer(("tract",), "tract", None),
    "litert": Peer(("ai_edge_litert", "litert_torch"), "ai-edge-litert", ".tflite"),
    "executorch": Peer(("executorch",), "executorch", ".pte"),
}


def installed() -> dict[str, str]:
    """Those that are here -> their versions; one line on stderr names the others."""
    found, missing = {}, []
    for name, peer in PEERS.items():
        if lacks := [module for module in peer.modules if util.find_spec(module) is None]:
            missing.append(f"{name} (no module {', '.join(lacks)})")
        else:
            found[name] = metadata.version(peer.package)
    if missing:
        print(f"not measured: {', '.join(missing)}; pip install '.[edge-peers]'", file=sys.stderr)
    return found


def arguments_of(name: str, graph: str, onnx_file: Path, checkpoint: Path) -> tuple[str, dict[str, Any]]:
    """A peer's factory and its arguments; converts the graph first where it reads no ONNX."""
    suffix, file = PEERS[name].suffix, onnx_file
    if suffix is not None:
        file = checkpoint.with_name(f"{checkpoint.name}-{graph}{suffix}")
        command = [sys.executable, __file__, name, str(checkpoint), graph, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {graph} cannot be converted: {done.stderr[-2000:]}")
    return f"{__file__}:{name}", {"file": str(file), "graph": graph}


# Factories, as those of aetool.bench.factories; each is executed alone in its contestant's process.


def tract(phase: Phase, *, file: str, graph: str) -> Any:
    """Run tract on an ONNX graph."""
    with phase("import"):
        import tract as runtime
    with phase("session_creation"):
        model = runtime.onnx().load(file)
        columns = str(model.input_fact(0)).split(",")[1]
        model.set_input_fact(0, f"1,{columns},f32")
        state = model.into_model().into_runnable().spawn_state()
    import onnx  # after what is timed: tract names outputs by their nodes

    outputs = [output.name for output in onnx.load(file, load_external_data=False).graph.output]
    place = outputs.index(OUTPUT[graph])

    def call(row: Any) -> Any:
        return state.run([row])[place].to_numpy() if len(row) == 1 else _one_by_one(call, row)

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],), provider="cpu")


def litert(phase: Phase, *, file: str, graph: str) -> Any:
    """Run LiteRT's interpreter, whose default on a processor is XNNPACK on one thread."""
    with phase("import"):
        from ai_edge_litert.interpreter import Interpreter
    with phase("session_creation"):
        interpreter = Interpreter(file)
        interpreter.allocate_tensors()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]

    def call(row: Any) -> Any:
        if len(row) != 1:
            return _one_by_one(call, row)
        interpreter.set_tensor(source, row)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],), provider="cpu")


def executorch(phase: Phase, *, file: str, graph: str) -> Any:
    """Run ExecuTorch on one thread: with its default, one a core, a row took longer."""
    with phase("import"):
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime
    with phase("session_creation"):
        portable_lib._unsafe_reset_threadpool(1)  # safe before the first method is loaded
        method = Runtime.get().load_program(Path(file)).load_method("forward")

    def call(row: Any) -> Any:
        if len(row) != 1:
            return _one_by_one(call, row)
        # A result lies in the method's memory, which the next call overwrites.
        return method.execute([torch.from_numpy(row)])[0].numpy().copy()

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],), provider="cpu")


def _one_by_one(call: Callable[[Any], Any], rows: Any) -> Any:
    """Many rows for a graph of one: where outputs are compared."""
    return np.concatenate([call(row[None]) for row in rows])


def _convert(name: str, checkpoint: Path, graph: str, file: Path) -> None:
    import torch

    from aetool.bench._torch_contestant import _function
    from aetool.model import load_checkpoint

    class OneGraph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pipeline = load_checkpoint(checkpoint).pipeline(torch.float32)
            self.run = _function(self.pipeline, graph)

        def forward(self, features: torch.Tensor) -> Any:
            return self.run(features)

    module = OneGraph().eval()
    row = (torch.zeros(1, module.pipeline.network.config.widths[0]),)
    if name == "litert":
        import litert_torch

        litert_torch.convert(module, row).export(str(file))
        return
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    # What XNNPACK has no kernel for, the mean in `score`, stays with the portable kernels.
    there = Runtime.get().backend_registry.is_available("XnnpackBackend")
    lowered = to_edge_transform_and_lower(
        torch.export.export(module, row), partitioner=[XnnpackPartitioner()] if there else []
    )
    file.write_bytes(lowered.to_executorch().buffer)


if __name__ == "__main__":
    _convert(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
