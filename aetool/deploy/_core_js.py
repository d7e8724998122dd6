"""A program of the core as a file, for core.mjs: a header in JSON, then steps, constants and indexes."""

import json

from aetool.bundle.bundle import Bundle
from aetool.core.program import Program
from aetool.core.translate import UnsupportedError, translate
from aetool.deploy._c_check import given_to
from aetool.deploy._deployment import admitted_model, in_order, row_of

_ALIGNED = 64


def program_file(program: Program, given: str) -> bytes:
    """Return a program as core.mjs reads it: each array begins at a multiple of 64 bytes.

    Args:
        program: the program.
        given: name of its input.
    """
    arrays = [program.steps, program.floats.tobytes(), program.halves.tobytes(), program.indexes]
    outputs = [
        {"name": output.name, "shape": list(output.shape), "decides": output.decides} for output in program.outputs
    ]
    described = {
        "input": given,
        "row": list(program.row),
        "outputs": outputs,
        "work": program.work,
        "sizes": [len(array) for array in arrays],
    }
    header = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    content = bytearray(len(header).to_bytes(4, "little") + header)
    for array in arrays:
        content += bytes(-len(content) % _ALIGNED)
        content += array
    return bytes(content)


def programs_of(bundle: Bundle) -> dict[str, bytes] | None:
    """Return graph -> program file for all graphs of a bundle; None where the core lacks something that one needs.

    Raises:
        BundleError: a graph is not let in.
    """
    try:
        return {
            graph: program_file(translate(admitted_model(bundle, graph), row_of(bundle, graph)), given_to(graph))
            for graph in in_order(bundle)
        }
    except UnsupportedError:
        return None
