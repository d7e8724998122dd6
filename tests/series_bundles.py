"""Small bundles of windows (time, channels), so that no test waits for an export, and samples for them."""

import json
import shutil
from pathlib import Path

import numpy as np

from aetool.bundle.manifest import MANIFEST
from aetool.runtime.moments import MomentScores, RowScores

BUNDLES = Path(__file__).parent / "watch" / "bundles"
WAVES = BUNDLES / "waves"
"""Windows of 8 samples of c0, c1 and c2, stride 2, gap 5 s, columns time and machine; on the core."""
CONVOLVED = BUNDLES / "convolved"
"""The same without times and groups, on onnxruntime."""


def waves(count, channels, seed=0):
    """Samples of noisy waves, (count, channels) float32."""
    random = np.random.default_rng(seed)
    steps = np.arange(count)[:, None] / (7 + np.arange(channels)) + random.uniform(0, 6, channels)
    return (np.sin(steps) + random.normal(0, 0.1, (count, channels))).astype(np.float32)


def with_row_threshold(bundle, folder, value):
    """A copy whose rows have a threshold of their own, as exports since have one."""
    copy = shutil.copytree(bundle, folder)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["series"]["row_threshold"] = value
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


def row_scores(scores, window, stride, own=None, block=None):
    """Scores of the rows of a run, from its windows, so many at a time; those of no window at all are NaN."""
    rows = RowScores(window, stride)
    block = block or max(1, len(scores))
    starts = range(0, len(scores), block)
    parts = [rows.add(scores[i : i + block], None if own is None else own[i : i + block]) for i in starts]
    return MomentScores(*(np.concatenate(each) for each in zip(*parts, rows.end(), strict=True)))
