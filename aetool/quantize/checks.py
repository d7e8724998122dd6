"""What every precision must keep, however coarse it is: it repeats itself, and rows are matters of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from aetool.errors import VerificationError
from aetool.export.graphs import require_deployable
from aetool.manifest import Tolerances
from aetool.parity import compare_values
from aetool.quantize.calibration import Floats

Outputs = dict[str, NDArray[Any]]
BATCHES = (1, 2, 7)
ROWS = 64
_MOST_COLUMNS = 200


def run(session: Any, rows: NDArray[Any]) -> Outputs:
    """All outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))


def require_structure(graphs: Mapping[str, bytes], opset: int) -> None:
    """Raises ExportError for what no deployed graph may hold."""
    for content in graphs.values():
        require_deployable(onnx.load_from_string(content), opset)


def require_repeatable(sessions: Mapping[str, Any], feeds: Mapping[str, Floats], allowed: Tolerances) -> None:
    """The same rows give the same, twice; a few of them what they give among many, as near as the precision is.

    Raises:
        VerificationError: naming the graph and the output.
    """
    for name, session in sessions.items():
        feed = feeds[name][:ROWS]
        whole, again = run(session, feed), run(session, feed)
        for output, values in whole.items():
            if not np.array_equal(values, again[output], equal_nan=values.dtype.kind == "f"):
                raise VerificationError(f"{name}: two runs on the same rows differ in {output}; it was not added")
        for batch in BATCHES:
            for output, values in run(session, feed[:batch]).items():
                if output in ("is_anomaly", "segment"):
                    continue
                mixed = np.concatenate([values, whole[output][len(values) :]])
                record = compare_values(
                    name, output, whole[output], mixed, tolerance=getattr(allowed, output), least_rank=-1.0
                )
                if not record.passed:
                    raise VerificationError(
                        f"{name}: {batch} rows give another {output} than among {len(feed)} ({record.reason}); it "
                        "was not added"
                    )


def require_rows_apart(model: Any, variant: Any, rows: Floats, names: Sequence[str]) -> None:
    """A cell with NaN or Inf that the model flags is flagged by the variant, and its neighbours do not notice.

    Args:
        model, variant: sessions of the two detectors.
        names: of the columns; none where the rows are no table's.

    Raises:
        VerificationError: naming the column.
    """
    sample = rows[np.isfinite(rows).reshape(len(rows), -1).all(axis=1)][:1]
    if not len(sample):
        return
    width = sample[0].size
    columns = np.unique(np.linspace(0, width - 1, min(width, _MOST_COLUMNS)).round().astype(int))
    values = np.array([np.nan, np.inf, -np.inf], np.float32)
    spoilt = np.repeat(sample, len(columns) * len(values), axis=0)
    spoilt.reshape(len(spoilt), -1)[np.arange(len(spoilt)), np.repeat(columns, len(values))] = np.tile(
        values, len(columns)
    )
    # Whole rows between the spoilt ones: each has such neighbours.
    mixed = np.stack([spoilt, np.repeat(sample, len(spoilt), axis=0)], axis=1).reshape(-1, *sample.shape[1:])
    expected, found = run(model, mixed), run(variant, mixed)
    lost = expected["is_anomaly"][::2] & ~np.isfinite(expected["score"][::2])
    lost &= ~found["is_anomaly"][::2] | np.isfinite(found["score"][::2])
    if lost.any():
        at = int(np.flatnonzero(lost)[0])
        column = int(np.repeat(columns, len(values))[at])
        value = values[at % len(values)]
        where = names[column] if names else f"place {column}"
        raise VerificationError(
            f"detector: a row with {value} in {where} would pass as a number: the score of this model does not "
            "depend on the row itself, but on what a coarser precision cannot hold; it was not added"
        )
    clean = run(variant, np.repeat(sample, len(mixed), axis=0))["score"][1::2]
    if not np.array_equal(clean, found["score"][1::2]):
        raise VerificationError("detector: a row with NaN or Inf changes its neighbours' scores; it was not added")
