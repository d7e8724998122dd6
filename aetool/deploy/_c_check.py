"""Checks of the generated C as a header: golden rows, and rows with NaN and infinity."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import SEGMENTER
from aetool.checks.parity import DECISION_BAND, EXACT, SCALED_TOLERANCE, column_scale, value_range
from aetool.deploy._c_source import CSource
from aetool.deploy._child import Arrays, run_graphs
from aetool.deploy._deployment import admitted
from aetool.deploy._int8_c import Int8, Network

OUTPUTS = {
    "encoder": ("embedding",),
    "decoder": ("reconstruction",),
    "autoencoder": ("embedding", "reconstruction"),
    "detector": ("score", "is_anomaly"),
    "explainer": ("contribution", "reconstruction"),
    SEGMENTER: ("segment", "distance"),
}
"""Outputs of each graph; those of a later version are left out."""
_DECISIONS = {"is_anomaly": "bool", "segment": "int64_t"}
"""Outputs that are compared exactly, and their C type."""
_DECIDE = ("detector", SEGMENTER)
"""Graphs that also run on rows with NaN and infinity. What the others make of NaN is not specified."""
GOLDEN_ROWS = 16
"""Most golden rows: a microcontroller's flash holds no more."""
_ODD = (np.nan, np.inf, -np.inf)


def given_to(graph: str) -> str:
    """Return the name of the graph's input."""
    return "embedding" if graph == "decoder" else "features"


def check_header(bundle: Bundle, sources: Mapping[str, CSource], int8: Int8 | None = None) -> str:
    """Return the rows and their expected outputs as a header.

    Golden rows, from the lowest score to the highest, have the outputs of PyTorch in float64; rows with NaN and
    infinity have those of onnxruntime on this machine. Integers have what numpy computes, bit for bit.
    """
    networks = int8.networks if int8 else {}
    golden, exact = read_golden(bundle), bundle.manifest.variants["fp32"]
    tolerances = exact.tolerances or EXACT
    needed = {key for graph in sources for key in (given_to(graph), *sources[graph].parameters)}
    whole = min(len(golden[key]) for key in needed)  # large outputs are kept for the first rows alone
    golden = {key: values[:whole] for key, values in golden.items()}
    chosen = _chosen(golden, exact.threshold, segments=SEGMENTER in sources)
    lines = [
        "/* Rows of the bundle's golden.npz, with what PyTorch in float64 computed for them; and rows that hold\n"
        " * NaN or infinity, with what onnxruntime computed where this was made. */",
        "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n",
        f"#define GOLDEN_ROWS {len(chosen)}",
        f"#define GOLDEN_TOLERANCE {number(0.0 if int8 else SCALED_TOLERANCE)}",
        f"#define ODD_ROWS {len(_ODD) * any(graph in _DECIDE for graph in sources)}\n",
    ]
    for key in sorted({given_to(graph) for graph in sources} if int8 else needed):
        lines.append(
            _array(f"{_DECISIONS.get(key, 'float')} golden_{key}", golden[key][chosen].reshape(len(chosen), -1))
        )
        scale: Any = np.asarray(value_range(golden[key]))
        if key == "reconstruction":
            scale = column_scale(golden["features"][: len(golden[key])], golden[key])
        scale = scale * (getattr(tolerances, key, SCALED_TOLERANCE) / SCALED_TOLERANCE)
        if key not in ("features", *_DECISIONS):
            lines.append(
                _array(f"float golden_{key}_scale", np.broadcast_to(scale, golden[key].shape[1:] or (1,)))
            )
    for graph, network in networks.items():
        for key, values in _of_integers(network, golden[given_to(graph)][chosen]).items():
            lines.append(_array(f"{_DECISIONS.get(key, 'float')} golden_{graph}_{key}", values))
            if key not in _DECISIONS:
                lines.append(_array(f"float golden_{graph}_{key}_scale", np.ones(values[0].size)))
    if deciding := [graph for graph in sources if graph in _DECIDE]:
        odd = _odd_rows(golden["features"][chosen[0]], bundle)
        lines.append(_array("float odd_features", odd))
        found = (
            {graph: _of_integers(networks[graph], odd) for graph in deciding}
            if int8
            else _run(bundle, deciding, odd)
        )
        for graph, outputs in found.items():
            lines += [
                _array(
                    f"{_DECISIONS.get(key, 'float')} odd_{graph}_{key}"
                    if int8
                    else f"{_DECISIONS.get(key, 'float')} odd_{key}",
                    values,
                )
                for key, values in outputs.items()
            ]
    return "\n".join(lines) + "\n"


def check_calls(name: str, verbs: Mapping[str, str], sources: Mapping[str, CSource], *, int8: bool = False) -> str:
    """Return the statements that run every function on row `row`, golden or odd, and compare."""
    return "".join(
        _check_call(f"{name}_{verbs[graph]}", graph, source, f"{graph}_" if int8 else "")
        for graph, source in sources.items()
    )


def _check_call(function: str, graph: str, source: CSource, of: str) -> str:
    """Return the call of one function; `of` is what the names of its expected outputs begin with."""
    (given, array), *outputs = source.parameters.items()

    def picked(key: str) -> str:
        return f"(odd ? odd_{key} : golden_{key})" if graph in _DECIDE else f"golden_{key}"

    arguments = ", ".join([f"{picked(given)} + row * {array.elements}", *(key for key, _ in outputs)])
    lines = [f"static {output.type} {key}[{output.elements}];" for key, output in outputs]
    lines.append(f"{function}({arguments});")
    for key, output in outputs:
        expected = f"{picked(of + key)} + row * {output.elements}"
        lines.append(
            f"hash_number((uint32_t){key}[0]);" if key in _DECISIONS else f"hash_floats({key}, {output.elements});"
        )
        if key in _DECISIONS:
            lines.append(f"flipped += {key}[0] != *({expected});")
        else:
            scale = f"golden_{of}{key}_scale"
            lines.append(f"worst = larger(worst, difference({key}, {expected}, {scale}, {output.elements}));")
    condition = "" if graph in _DECIDE else "if (!odd) "
    return f"        {condition}{{\n" + "".join(f"            {line}\n" for line in lines) + "        }\n"


def number(value: float) -> str:
    """Return a float32 constant."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value))
    if np.isfinite(rounded):
        return f"{rounded!r}f"
    return "NAN" if np.isnan(rounded) else "INFINITY" if rounded > 0 else "-INFINITY"


def _chosen(golden: Mapping[str, NDArray[Any]], threshold: float, *, segments: bool) -> NDArray[np.intp]:
    score = golden["score"]
    order = np.argsort(score, kind="stable")
    order = order[~(np.abs(score[order] - threshold) <= DECISION_BAND * abs(threshold))]
    if segments:  # nor between two segments, where rounding decides as well
        nearest, second = np.sort(golden["distance"][order], axis=1)[:, :2].T
        order = order[~(second - nearest <= DECISION_BAND * second)]
    places = np.unique(np.linspace(0, len(order) - 1, min(GOLDEN_ROWS, len(order))).round().astype(int))
    chosen: NDArray[np.intp] = order[places]
    return chosen


def _odd_rows(row: NDArray[Any], bundle: Bundle) -> NDArray[np.float32]:
    """Return the row once for each odd value, put in the place of a number rather than of a category."""
    rows = np.repeat(row.astype(np.float32)[None], len(_ODD), axis=0)
    features = bundle.manifest.features
    places = [i for i, feature in enumerate(features) if feature.categories is None] or [0]
    for i, value in enumerate(_ODD):
        rows[i].reshape(-1)[places[i % len(places)]] = value
    return rows


def _run(bundle: Bundle, graphs: Iterable[str], odd: NDArray[Any]) -> dict[str, Arrays]:
    """Run the odd rows with onnxruntime: graph -> its outputs."""
    runs = {graph: (admitted(bundle, graph), odd) for graph in graphs}
    found = run_graphs(runs, ".onnx", str(bundle.path))
    return {
        graph: {key: values for key, values in outputs.items() if key in OUTPUTS[graph]}
        for graph, outputs in found.items()
    }


def _of_integers(network: Network, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what a network in integers gives for rows."""
    found = network.outputs(rows.reshape(len(rows), -1).astype(np.float32))
    return {
        output.name: (found[output.name] != 0 if output.decides else found[output.name]).reshape(
            len(rows), *output.shape
        )
        for output in network.results
    }


def _array(declaration: str, values: NDArray[Any]) -> str:
    """Return `declaration[rows][columns] = {...}`, one row of at most 8 numbers a line."""
    write = number if values.dtype.kind == "f" else lambda value: str(value).lower()
    numbers = [write(value) for value in values.ravel().tolist()]
    lines = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
    return f"static const {declaration}[{values.size}] = {{\n    " + ",\n    ".join(lines) + "\n};\n"
