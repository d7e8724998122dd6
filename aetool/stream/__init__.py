"""A bundle over files that need not fit in memory, by one machine or many.

Read in this order: `run` (`stream`, the whole run), `inputs` (the input files), `task` (what is computed),
`engines` and `ray` (where), `file` (one input to one output), `output` (the output directory, which a killed run
is resumed from), `filesystems` (local or remote), `top` (the highest scores of files). Other rooms import these
modules: `ray` and pyarrow are optional.
"""

from aetool.stream.engines import LocalEngine
from aetool.stream.run import Run, stream
from aetool.stream.task import Task

__all__ = ["LocalEngine", "Run", "Task", "stream"]
