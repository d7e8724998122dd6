"""Portraits of the repository's own bundle, for tests of its page."""

import dataclasses
from pathlib import Path

import numpy as np

from aetool.report.bundle.data import portray

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "exported" / "breast-cancer"
SEGMENTS = {
    "clusters": 2,
    "rows": 100,
    "stability": {"adjusted_rand_index": 0.53, "refits": 20},
    "segments": [
        {
            "segment": number,
            "rows": 50,
            "share": 0.5,
            "label": "high mean radius",
            "name": "Large ones" * number,
            "traits": [
                {
                    "feature": "mean radius",
                    "difference": 1.0,
                    "statistic": "median",
                    "of_segment": 17.0,
                    "of_all": 13.0,
                    "ratio": 17 / 13,
                }
            ],
        }
        for number in range(2)
    ],
}


def samples():
    table = np.loadtxt(ROOT / "exported" / "samples.csv", delimiter=",", skiprows=1).astype(np.float32)
    return table[:, 1:31], table[:, 31] != 0


def labelled_portrait(names):
    return portray(BUNDLE, *samples(), kept={"id": names}, source="samples.csv")


def with_segments(portrait, count=2):
    """As if `aetool segment` had made some: a row's place in the data tells its segment."""
    points = tuple(
        dataclasses.replace(point, segment=point.number % count) for point in portrait.embedding_map.points
    )
    return dataclasses.replace(
        portrait,
        manifest=portrait.manifest._replace(segments=SEGMENTS),
        embedding_map=dataclasses.replace(portrait.embedding_map, points=points),
    )
