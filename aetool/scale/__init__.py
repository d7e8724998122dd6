"""A bundle over files that need not fit in memory, by one machine or many.

`stream` finds the input files, has an engine compute each of them, and keeps the output directory such that a run
that was killed goes on where it stopped. An engine is `LocalEngine`, or `aetool.scale.ray_engine.RayEngine`.
"""

from aetool.scale.engine import LocalEngine
from aetool.scale.run import Run, stream
from aetool.scale.task import Task

__all__ = ["LocalEngine", "Run", "Task", "stream"]
