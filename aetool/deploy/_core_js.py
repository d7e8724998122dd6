"""The graphs of a bundle as one file for core.mjs: a header in JSON, constants, the steps of each graph."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.core.constants import PANEL, widened
from aetool.core.program import GraphSteps, Operation, Program, lay_out_together
from aetool.core.translate import UnsupportedError, steps_of
from aetool.deploy._c_check import given_to
from aetool.deploy._core_c import STEP
from aetool.deploy._deployment import admitted_model, in_order, row_of

_ALIGNED = 64
_LARGEST_STEP = 127
"""Largest distance, in floats, between a weight and what another matrix predicts, for which that is of use."""


def programs_of(bundle: Bundle, precision: str = "fp32") -> bytes | None:
    """Return all graphs of a precision as one file; None where the core lacks something that one needs.

    Raises:
        BundleError: a graph is not let in.
    """
    try:
        graphs = {}
        for graph in in_order(bundle, precision):
            row = row_of(bundle, graph)
            graphs[graph] = GraphSteps(*steps_of(admitted_model(bundle, graph, precision), row), row)
    except UnsupportedError:
        return None
    return program_file(lay_out_together(graphs))


def program_file(programs: Mapping[str, Program]) -> bytes:
    """Return programs that share their constants as core.mjs reads them: arrays begin at multiples of 64 bytes.

    Of constants the first byte of each comes first, then the second one, and so on: exponents pack well.
    """
    first = next(iter(programs.values()))
    floats, halves, scaled = _scaled(programs)
    described = {
        "sizes": [floats.nbytes, halves.nbytes, len(first.indexes)],
        "scaled": scaled,
        "graphs": {
            graph: {
                "input": given_to(graph),
                "row": list(program.row),
                "outputs": [
                    {"name": output.name, "shape": list(output.shape), "decides": output.decides}
                    for output in program.outputs
                ],
                "work": program.work,
                "steps": len(program.steps),
            }
            for graph, program in programs.items()
        },
    }
    header = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    content = bytearray(len(header).to_bytes(4, "little") + header)
    steps = [program.steps for program in programs.values()]
    for array in (_apart(floats), _apart(halves), first.indexes, *steps):
        content += bytes(-len(content) % _ALIGNED)
        content += array
    return bytes(content)


def _apart(values: NDArray[Any]) -> bytes:
    return values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def _scaled(
    programs: Mapping[str, Program],
) -> tuple[NDArray[np.float32], NDArray[np.uint16], list[dict[str, int | str]]]:
    """Return the constants with the differences of a matrix from another one in its place, where they are small.

    The decoder's last layer stands in raw units in one graph and, its outputs scaled, in the detector: a factor
    for each output predicts all but a few last bits, and the differences shrink to nothing in a zip.
    """
    first = next(iter(programs.values()))
    arrays: dict[str, NDArray[Any]] = {"floats": first.floats.copy(), "halves": first.halves.copy()}
    found: list[dict[str, int | str]] = []
    steps = np.concatenate([np.frombuffer(program.steps, STEP) for program in programs.values()])
    matrices: dict[tuple[str, int], tuple[int, int]] = {}
    for step in steps[np.isin(steps["operation"], [Operation.DENSE, Operation.DENSE_BF16])]:
        kind = "floats" if step["operation"] == Operation.DENSE else "halves"
        matrices[kind, int(step["offset"])] = (int(step["n"]), int(step["b"]))
    whole: list[tuple[str, int]] = []
    for (kind, at), (n, m) in matrices.items():
        for of in (other for same, other in whole if same == kind and matrices[kind, other] == (n, m)):
            base, wanted = (getattr(first, kind)[place : place + n * m] for place in (of, at))
            factors = _factors(_wide(base), _wide(wanted), n, m)
            with np.errstate(all="ignore"):
                predicted = _narrow(_wide(base) * factors[_columns(n, m)], kind)
            difference = _bits(wanted) - _bits(predicted)
            if np.abs(difference).max() <= _LARGEST_STEP:
                bits = np.uint16 if kind == "halves" else np.int32
                folded = difference << 1 ^ difference >> 63  # 0, -1, 1, -2 as 0, 1, 2, 3: no upper bytes
                arrays[kind][at : at + n * m] = folded.astype(bits).view(arrays[kind].dtype)
                by = len(arrays["floats"])
                arrays["floats"] = np.concatenate([arrays["floats"], factors])
                found.append({"kind": kind, "at": at, "of": of, "n": n, "m": m, "by": by})
                break
        else:
            whole.append((kind, at))
    return arrays["floats"], arrays["halves"], found


def _columns(n: int, m: int) -> NDArray[np.int64]:
    """Return the output that each weight in panels belongs to."""
    return np.concatenate([np.tile(np.arange(start, min(start + PANEL, m)), n) for start in range(0, m, PANEL)])


def _factors(base: NDArray[np.float32], wanted: NDArray[np.float32], n: int, m: int) -> NDArray[np.float32]:
    """Return for each output what its weights are multiplied by: by the largest of them."""
    columns = _columns(n, m)
    order = np.lexsort((np.abs(base), columns)).reshape(m, n)[:, -1]
    factors = np.zeros(m, np.float32)
    np.divide(wanted[order], base[order], out=factors, where=base[order] != 0)
    return factors


def _wide(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32, of bfloat16 too."""
    return widened(values) if values.dtype == np.uint16 else values


def _narrow(values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """Return the nearest bfloat16, ties to even, where `kind` is of them."""
    if kind == "floats":
        return values
    bits = values.view(np.uint32)
    return ((bits.astype(np.int64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _bits(values: NDArray[Any]) -> NDArray[np.int64]:
    return values.view(np.uint16 if values.itemsize == 2 else np.int32).astype(np.int64)
