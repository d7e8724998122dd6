"""Small bundles of windows (time, channels), so that no test waits for an export, and samples for them."""

from pathlib import Path

import numpy as np

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
