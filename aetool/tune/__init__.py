"""The fastest way to run a bundle on this machine that stays within a budget.

`tune` searches; its result lies beside the bundle, and `aetool.load` uses it. Read in this order: `run` (from
the bundle to the tuning file), `backends` (providers and precisions within the budget), `candidates` (settings
to try), `search` (which is fastest), `result` (the tuning file).
"""

from aetool.runtime.tuning_file import TuningResult
from aetool.tune.result import read_tuning
from aetool.tune.run import TuningPlan, tune

__all__ = ["TuningPlan", "TuningResult", "read_tuning", "tune"]
