"""A bundle over files that need not fit in memory, by one machine or many.

`stream` finds the input files, has an engine compute each of them, and keeps the output directory such that a run
that was killed goes on where it stopped. An engine is `LocalEngine`, or `aetool.stream.ray.RayEngine`.
"""

from aetool.stream.engines import LocalEngine
from aetool.stream.run import Run, stream
from aetool.stream.task import Task

__all__ = ["LocalEngine", "Run", "Task", "stream"]
