"""p-values of a score where no ONNX is read: the sorted scores of normal rows, and their tail."""

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.deploy._c_check import number
from aetool.deploy._deployment import asset
from aetool.onnx_check.check import require_admissible

CALIBRATION = "calibration.json"
"""Its name in a package of JavaScript."""
_A_LINE = 8


class Calibration(NamedTuple):
    """What p-values are made of; see `aetool.decisions`."""

    scores: NDArray[np.float32]
    """Of normal rows, ascending."""
    rate: float
    """Of the tail beyond the largest: p falls with (1 + rate * excess) ** power."""
    power: float
    """0 where there is no tail."""

    def to_json(self) -> str:
        """Return the content of the file CALIBRATION."""
        scores = [float(str(score)) for score in self.scores]  # the shortest decimals of float32
        return json.dumps({"scores": scores, "rate": self.rate, "power": self.power})


def calibration_of(bundle: Bundle, precision: str = "fp32") -> Calibration | None:
    """Return what a precision's calibrator holds; None where it has none.

    Raises:
        BundleError: the file is damaged, or its graph is not let in.
    """
    path = bundle.manifest.variants[precision].calibrator
    if path is None:
        return None
    model = require_admissible(bundle.read(path), (), bundle.limits, f"{bundle.path}: calibrator")
    found = {tensor.name: tensor.numbers() for tensor in model.graph.all_constants()}
    table, count, rate, power = (found.get(name) for name in ("scores", "count", "rate", "power"))
    if table is None or count is None:  # another's graph, which onnxruntime runs
        return None
    scores = table.reshape(-1)[: int(count.reshape(-1)[0])].astype(np.float32)
    if rate is None or power is None:
        return Calibration(scores, 0.0, 0.0)
    return Calibration(scores, float(rate.reshape(-1)[0]), float(power.reshape(-1)[0]))


def p_value_source(calibration: Calibration, name: str, guard: str) -> bytes:
    """Return the C of `NAME_p_value`."""
    texts = [number(score) for score in calibration.scores]
    lines = [", ".join(texts[start : start + _A_LINE]) for start in range(0, len(texts), _A_LINE)]
    return asset(
        "c_files/p_value.c",
        guard=guard,
        name=name,
        macro=name.upper(),
        count=str(len(texts)),
        scores="".join(f"    {line},\n" for line in lines),
        rate=number(calibration.rate),
        power=number(calibration.power),
    )
