"""How fast a precision is, compared with float32 by taking turns, through the face that apps use."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aetool.bench.contestants import Contestant, Load, opened
from aetool.bench.rows import make_pool, pool_size
from aetool.bench.turns import compared, take_turns
from aetool.limits import Limits
from aetool.manifest import Manifest
from aetool.quantize.calibration import Floats

BULK_ROWS = 16_384
MOST_BYTES = 1 << 28
"""Of the rows measured with: of images, fewer."""
GRAPH = "score"


def measure_speed(
    staged: Path,
    manifest: Manifest,
    precision: str,
    rows: Floats,
    *,
    seconds: float,
    rounds: int,
    progress: Callable[[str], None],
    limits: Limits,
) -> dict[str, Any]:
    """Ratios of `score` in `precision` to fp32: above 1 is faster.

    Args:
        staged: a bundle that has both.
        rows: real ones.
        seconds: of one turn; each has `rounds` of them for one row, and for many.

    Raises:
        BenchmarkError: a process fails.
    """
    bulk = min(BULK_ROWS, max(64, MOST_BYTES // rows[0].nbytes))
    found: dict[str, Any] = {"graph": GRAPH, "bulk_rows": bulk, "rounds": rounds, "seconds": seconds}
    with tempfile.TemporaryDirectory(prefix="aetool-quantize-") as folder:
        contestants = [
            Contestant(
                name,
                "aetool.bench.peers:bundle",
                {
                    "path": str(staged),
                    "graph": GRAPH,
                    "provider": "cpu",
                    "precision": name,
                    "limits": limits._asdict(),
                },
            )
            for name in ("fp32", precision)
        ]
        with opened(contestants) as running:
            for contestant in running:
                contestant.load()
            for name, batch in (("one_row", 1), ("bulk", bulk)):
                progress(f"{precision}: speed, {batch:,} row{'s' * (batch > 1)}")
                pool = make_pool(rows[: pool_size(batch)], manifest, "rows", batch, 0)
                np.save(file := Path(folder) / f"{name}.npy", pool.for_batch(batch))
                for contestant in running:
                    contestant.take(file)
                turns = take_turns(running, Load(batch=batch, seconds=seconds), rounds=rounds)
                figure = "p50_s" if batch == 1 else "rows_per_s"
                times = (turns["fp32"], turns[precision])
                ratio = compared(*times, "p50_s") if figure == "p50_s" else compared(*times[::-1], "rows_per_s")
                found[name] = ratio.median
                found[f"{name}_range"] = [ratio.low, ratio.high]
    return found
