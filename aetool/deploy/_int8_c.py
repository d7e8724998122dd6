"""Graphs in integers, for microcontrollers: calibrated, with a threshold of their own, and measured."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.checks.fidelity import Answers, Budget, Fidelity, fidelity, matched
from aetool.core.int8 import to_integers
from aetool.core.program import Operand, Operation, Output, Program, Step, lay_out
from aetool.core.reference import run
from aetool.core.translate import UnsupportedError, steps_of
from aetool.deploy._deployment import admitted_model, row_of
from aetool.errors import BudgetError, ExportError, InputError

Floats = NDArray[np.float32]
MOST_ROWS = 2000
"""Int8Rows to calibrate with, and rows to judge by, at most."""
ROOMS = (2.0, 4.0, 8.0)
"""Widths of what integers cover, relative to what the calibration rows cover, tried in this order: with less, odd
rows are cut off, which flags them more; with more, steps are coarser."""
_ENOUGH = 400
"""Normal rows from which on no row has both uses."""


class Network(NamedTuple):
    """One graph, as steps."""

    results: Mapping[Output, Operand]
    steps: Sequence[Step]

    def outputs(self, rows: Floats) -> dict[str, NDArray[Any]]:
        """Return what it gives for flat rows."""
        values = run(self.steps, rows)

        def of(operand: Operand) -> NDArray[Any]:
            if isinstance(operand, np.ndarray):
                return operand
            return values[id(operand)] if isinstance(operand, Step) else rows

        return {output.name: of(operand) for output, operand in self.results.items()}

    def program(self, row: tuple[int, ...], narrowest: int) -> Program:
        """Return its program."""
        return lay_out(self.results, self.steps, row, narrowest=narrowest)


class Int8Rows(NamedTuple):
    """Flat rows of a bundle: some to calibrate with, others to judge by."""

    calibration: Floats
    judged: Floats
    labels: NDArray[np.bool_] | None
    source: str


class Int8(NamedTuple):
    """The graphs of a bundle in integers."""

    networks: Mapping[str, Network]
    threshold: float
    figures: Mapping[str, Any]


def golden_rows(bundle: Bundle) -> Int8Rows:
    """Return the golden rows that the bundle calls normal, to calibrate with, and all of them to judge by."""
    golden = read_golden(bundle)
    rows = golden["features"].reshape(len(golden["features"]), -1).astype(np.float32)
    return Int8Rows(rows[~golden["is_anomaly"][: len(rows)]], rows, None, "the golden rows")


def table_rows(rows: NDArray[Any], labels: NDArray[np.bool_] | None) -> Int8Rows:
    """Return half of the normal rows to calibrate with and the others, with the anomalies, to judge by.

    Raises:
        InputError: there are no normal rows.
    """
    flat = rows.reshape(len(rows), -1).astype(np.float32)
    normal = np.arange(len(flat)) if labels is None else np.flatnonzero(~labels)
    if not len(normal):
        raise InputError("no normal rows, which int8 is calibrated with; give a table with such rows")
    shuffled = np.random.default_rng(0).permutation(normal)
    half = len(shuffled) // 2 if len(shuffled) >= _ENOUGH else 0
    kept = shuffled[half:][:MOST_ROWS]
    calibration = shuffled[:half][:MOST_ROWS] if half else kept
    anomalies = np.setdiff1d(np.arange(len(flat)), normal)[:MOST_ROWS]
    judged = np.sort(np.concatenate([kept, anomalies]))
    both = labels is not None and len(anomalies) > 0
    return Int8Rows(
        flat[np.sort(calibration)], flat[judged], labels[judged] if both and labels is not None else None, "table"
    )


def network_of(bundle: Bundle, graph: str) -> Network:
    """Return a graph in float32.

    Raises:
        ExportError: the core lacks something that it needs.
    """
    try:
        return Network(*steps_of(admitted_model(bundle, graph), row_of(bundle, graph)))
    except UnsupportedError as error:
        raise ExportError(
            f"{bundle.path}: {graph}: int8 is for dense layers and what is around them: {error}; deploy fp32"
        ) from None


def to_int8(bundle: Bundle, graphs: Sequence[str], rows: Int8Rows, budget: Budget) -> Int8:
    """Return graphs in integers, with a threshold that flags as many normal rows as that of fp32.

    Raises:
        BudgetError: the decisions or the AUROC differ by more than the budget allows.
        ExportError: a graph has no dense layers that can be integers.
    """
    floats = {graph: network_of(bundle, graph) for graph in {*graphs, "detector"}}
    parts = (rows.calibration, rows.judged)
    before = [floats["detector"].outputs(part)["score"][:, 0] for part in parts]
    old, tried = bundle.manifest.variants["fp32"].threshold, []
    for room in ROOMS:
        detector = _converted(floats["detector"], rows.calibration, room)
        after = [detector.outputs(part)["score"][:, 0] for part in parts]
        threshold = _matched(before[0], after[0], old)
        found = fidelity(_answers(before[1], old), _answers(after[1], threshold), rows.labels)
        reasons = budget.exceeded(found)
        if not reasons:
            break
        tried.append({"room": room, "reasons": reasons})
    else:
        raise BudgetError(
            f"int8: {', '.join(reasons)}, on {rows.source}; give --data with more rows, or a wider budget, or "
            "deploy fp32",
            tried,
        )
    made = {
        graph: _deciding_by(detector, old, threshold)
        if graph == "detector"
        else _converted(floats[graph], _given(bundle, graph, rows), room)
        for graph in graphs
    }
    return Int8(
        made, threshold, {"rows": rows.source, "judged": len(rows.judged), **_told(found), "threshold": threshold}
    )


def _given(bundle: Bundle, graph: str, rows: Int8Rows) -> Floats:
    """Return calibration rows as the graph takes them."""
    if graph != "decoder":
        return rows.calibration
    return network_of(bundle, "encoder").outputs(rows.calibration)["embedding"]


def _converted(network: Network, rows: Floats, room: float) -> Network:
    """Return a network in integers."""
    return Network(*to_integers(network.results, network.steps, rows, room))


def _answers(scores: Floats, threshold: float) -> Answers:
    return Answers(None, np.zeros((len(scores), 0), np.float32), scores, ~(scores <= np.float32(threshold)))


def _told(found: Fidelity) -> dict[str, Any]:
    told: dict[str, Any] = {"flipped": found.flipped}
    if found.auroc is not None:
        told |= {"auroc_fp32": round(found.auroc[0], 4), "auroc": round(found.auroc[1], 4)}
    return told


def _matched(before: Floats, after: Floats, threshold: float) -> float:
    there = np.isfinite(before) & np.isfinite(after)
    old, new = (np.sort(scores[there]).astype(np.float64) for scores in (before, after))
    return matched(old, new, threshold)


def _deciding_by(network: Network, old: float, threshold: float) -> Network:
    """Return a detector that compares with another threshold."""
    number = np.float32(old)
    for place, step in enumerate(network.steps):
        first, *others = step.reads
        if step.operation is not Operation.LESS_OR_EQUAL or not isinstance(others[0], np.ndarray):
            continue
        if others[0].size == 1 and others[0][0] == number:
            network.steps[place].reads = (first, np.array([threshold], np.float32))
            return network
    raise ExportError("its decision is no comparison with the threshold, so that int8 has none; deploy fp32")
