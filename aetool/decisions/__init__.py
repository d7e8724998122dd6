"""Decisions one can stand behind: thresholds from rows of the place where a model runs.

Read in this order: `calibrate` (rows and a goal to a new bundle), `_choice` (the threshold for a goal),
`_binomial` (how sure one can be), `_graph` (p-values as ONNX operators), `_tail` (beyond the largest score),
`_probability` (with labels).
"""

from aetool.decisions._choice import Goal, Outcome, Share
from aetool.decisions.calibrate import Calibrated, calibrate

__all__ = ["Calibrated", "Goal", "Outcome", "Share", "calibrate"]
