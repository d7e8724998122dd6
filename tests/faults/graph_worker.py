"""A process that checks and runs graphs, one after another, and tells what each took: run by `test_graph_fuzz`."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from aetool import Limits
from aetool.errors import BundleError
from aetool.onnx_check._memory import _Counter
from aetool.onnx_check._shape_inputs import Rows, Value
from aetool.onnx_check.check import refusal
from aetool.onnx_check.edit import with_outputs
from aetool.onnx_check.model import NUMPY, read_model
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS, onnxruntime

onnxruntime()  # its own memory is not that of a graph

LIMITS = Limits(numbers_per_row=8 << 20)
ROW = (6,)
BYTES_OF_A_NUMBER = 8
OF_THE_FILE = 6
"""Times: constants are read, copied and laid out anew."""
CONSTANT_BYTES = 24 << 20
"""Of onnxruntime itself, its sessions and its arena."""
RECURRENT = ("LSTM", "GRU", "RNN")
ROOM_MB = 3072


def status(key):
    """A number of /proc/self/status, in bytes."""
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def session_of(content):
    return open_session(content, PROVIDERS["cpu"], intra_op_num_threads=1, where="g")


def computed(content, row=ROW):
    """Every value between the nodes, and how many numbers are held."""
    graph = read_model(content, 8, 1000).graph
    found, counter = {}, _Counter(1 << 40)
    results = counter._results

    def remember(node, *arguments):
        values, inside = results(node, *arguments)
        found.update(zip(node.outputs, values, strict=False))
        return values, inside

    counter._results = remember
    counted = counter.count(graph, {graph.inputs[0]: Value((Rows(1), *row), 1)}, 1)
    return graph, found, counted.numbers


def use(content):
    """What came of it; seconds of the check; bytes used and their bound."""
    start = time.process_time()
    reason = refusal(content, ROW, LIMITS)
    took = time.process_time() - start
    if reason is not None:
        return "refused", took, 0, 0, reason
    graph, found, numbers = computed(content)
    outcome, most, bound = "ran", 0, 1
    recurrent = any(node.operator in RECURRENT for node in graph.nodes)  # which the runtime gives no empty batch
    for rows in (1, 16) if recurrent else (1, 16, 0):
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        allowed = 1.1 * (BYTES_OF_A_NUMBER * numbers * max(1, rows) + OF_THE_FILE * len(content)) + CONSTANT_BYTES
        features = np.random.default_rng(0).normal(size=(rows, *ROW)).astype(np.float32)
        try:
            session = session_of(content)
            session.run(None, {graph.inputs[0]: features})
        except (BundleError, Exception) as error:  # noqa: BLE001, of onnxruntime: it may refuse what it likes
            outcome = "bad_alloc" if "alloc" in str(error) else "refused by onnxruntime"
        session = None
        used = status("VmHWM") - before
        if used / allowed > most / bound:
            most, bound = used, int(allowed)
    if outcome == "ran" and (wrong := other_shapes(content, graph, found)):
        outcome = wrong
    return outcome, took, most, bound, ""


def other_shapes(content, graph, found):
    """Values of another shape or content than was computed, in words."""
    names = [name for name in found if name]
    more = with_outputs(content, [name for name in names if name not in graph.outputs])
    features = np.random.default_rng(0).normal(size=(5, *ROW)).astype(np.float32)
    try:
        results = session_of(more).run(names, {graph.inputs[0]: features})
    except (BundleError, Exception):  # noqa: BLE001
        return ""
    for name, result in zip(names, results, strict=True):
        value = found[name]
        if value.kind and np.dtype(NUMPY.get(value.kind, "O")) != result.dtype:
            return f"wrong: {name} is of {result.dtype}, computed {value.kind}"
        shape = tuple(side.times * 5 if isinstance(side, Rows) else side for side in value.shape)
        if shape != np.shape(result):
            return f"wrong: {name} is {np.shape(result)}, computed {value.shape}"
        if value.content is not None:
            sides = [side.times * 5 if isinstance(side, Rows) else side for side in value.content.flat]
            if np.asarray(result).ravel().tolist() != sides:
                return f"wrong: {name} holds {result}, computed {value.content}"
    return ""


if __name__ == "__main__":
    room = status("VmSize") + (ROOM_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    stream = sys.stdin.buffer
    while line := stream.readline():
        print(json.dumps(use(stream.read(int(line)))), flush=True)
