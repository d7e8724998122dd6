"""Whether `explain` names the feature that is at fault.

python benchmarks/planted_faults.py DATA.npz...      NPZ with X and y (1 = anomaly)

Learnt from the first half of the normal rows, with default options. In 1,000 rows of the other half one feature
each, drawn evenly, is shifted by 6 of its standard deviations, up or down; of the rows that are flagged then, how
often that feature is named first, and whether the contributions add up to the score.
"""

from pathlib import Path
from typing import Any

import numpy as np
from common import judged, of_every_table

import aetool

ROWS, SIGMAS = 1000, 6


def measure(path: Path, seed: int, folder: Path) -> dict[str, Any]:
    _, trained, exported, test, labels = judged(path, seed, folder)
    session = aetool.load(exported.bundle.path)
    random, every = np.random.default_rng(seed), np.arange(ROWS)
    rows = random.choice(test[~labels], ROWS).astype(np.float32)
    at_fault = random.integers(0, rows.shape[1], ROWS)
    sign = random.choice([-1, 1], ROWS)
    rows[every, at_fault] += (sign * SIGMAS * trained.statistics.scale[at_fault]).astype(np.float32)
    flagged, score, found = session.detect(rows), session.score(rows), session.explain(rows)
    first = found.largest(1)[:, 0]
    right = (first == at_fault) & (found.direction[every, first] == sign)
    total = found.contribution.sum(axis=1, dtype=np.float64)
    return {
        "seed": seed,
        "flagged": int(flagged.sum()),
        "named_first": float(right[flagged].mean()) if flagged.any() else None,
        "largest_relative_difference_to_score": float(np.abs(total / score - 1).max()),
    }


def summary(name: str, rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for figures in rounds:
        print(f"{name:20}", *(f"{figure} {value:.6g}" for figure, value in figures.items()), sep="  ")
    return rounds


if __name__ == "__main__":
    of_every_table("planted_faults", __doc__, measure, summary)
