"""The check that all contestants compute the same, before anything is timed."""

from collections.abc import Mapping, Sequence

import numpy as np

from aetool.bench.contestants import Running
from aetool.bench.result import Agreement
from aetool.checks.parity import Array, column_scale, compare_values
from aetool.errors import BenchmarkError

FP32_TOLERANCE = 1e-3
"""Two float32 computations of deep models differ by more than one rounding: 1e-4 of the range in MLPerf Tiny."""
REDUCED_TOLERANCE = 0.1
"""For int8 and bfloat16, which compute differently; `aetool verify` measures what that costs."""


def require_agreement(
    running: Sequence[Running],
    *,
    graph: str = "",
    expected: Mapping[str, Array] | None = None,
    features: Array | None = None,
    tolerance: float = FP32_TOLERANCE,
    rows: str = "all rows taken",
) -> list[Agreement]:
    """Run all of them, loaded and with the same rows taken, and compare.

    Args:
        running: contestants, loaded and with the same rows taken.
        graph: the graph's name, for messages.
        expected: output name -> reference; by default what the first of them gives.
        features: the rows, where a reconstruction is to be scaled by its column's range.
        tolerance: largest difference, as a share of the output's range.
        rows: what to call the rows.

    Raises:
        BenchmarkError: a difference is above `tolerance`.
    """
    records = []
    for contestant in running:
        found = contestant.outputs()
        if expected is None:
            expected, rows = found, f"{rows}, compared with {contestant.name}"
        for output, values in found.items():
            if output not in expected:
                raise BenchmarkError(
                    f"{contestant.name}: gives {output!r}, the others {', '.join(expected)}; contestants must "
                    "give the same outputs to be compared"
                )
            reference, scale = expected[output], None
            if output == "reconstruction" and features is not None:
                other = expected.get("alternative", reference)  # the second category where two are near ties
                reference = np.where(values == other, other, reference)
                scale = column_scale(features, reference)
            parity = compare_values(graph, output, reference, values, scale=scale, tolerance=tolerance)
            # Which other precisions do reorder.
            only_ranks = parity.reason.startswith("rank correlation") and tolerance > FP32_TOLERANCE
            if not parity.passed and not only_ranks:
                what = f"{graph} {output}".strip()
                raise BenchmarkError(
                    f"{contestant.name}: {what} differs from the others, {parity.reason}: nothing was timed, "
                    "since figures of different computations compare nothing"
                )
            records.append(Agreement(contestant.name, graph, output, parity.max_scaled, rows))
    return records
