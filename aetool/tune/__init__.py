"""The fastest way to run a bundle on this machine that stays within a budget.

`tune` searches; its result lies beside the bundle, and `aetool.load` uses it. Read in this order: `_run` (from
the bundle to the tuning file), `_backends` (providers and precisions within the budget), `_candidates`
(settings to try), `_search` (which is fastest), `result` (the tuning file).
"""

from aetool.runtime.tuning_file import TuningResult
from aetool.tune._run import TuningPlan, tune
from aetool.tune.result import read_tuning

__all__ = ["TuningPlan", "TuningResult", "read_tuning", "result", "tune"]
