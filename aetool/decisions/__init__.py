"""Decisions one can stand behind: thresholds from rows of the place where a model runs.

Read in this order: `_calibrate` (rows and a goal to a new bundle), `_choice` (the threshold for a goal, and how
sure one can be: `aetool.checks.binomial`), `_graph` (p-values as ONNX operators), `_tail` (beyond the largest
score), `_probability` (with labels). `_compare` sets an old model beside a new one, `_feedback` learns from what
rows turned out to be.
"""

from aetool.decisions._calibrate import Calibrated, calibrate, calibrator_of
from aetool.decisions._choice import Goal, Proportion, ThresholdOutcome
from aetool.decisions._compare import ModelComparison, Requirement, Side, compare, requirements
from aetool.decisions._feedback import Feedback, Proposal, feedback

__all__ = [
    "Calibrated",
    "Feedback",
    "Goal",
    "ModelComparison",
    "Proportion",
    "Proposal",
    "Requirement",
    "Side",
    "ThresholdOutcome",
    "calibrate",
    "calibrator_of",
    "compare",
    "feedback",
    "requirements",
]
