"""A bundle over files that need not fit in memory, by one machine or many.

Read in this order: `_run` (`stream`, the whole run), `_inputs` (the input files), `_task` (what is computed),
`_engines` and `ray` (where), `_file` (one input to one output), `_output` (the output directory, which a killed
run is resumed from). `ray` is a module of its own: it is optional. `logs` has the windows of a log.
"""

from aetool.stream._engines import LocalEngine
from aetool.stream._run import Streamed, Top, stream, top_of_files
from aetool.stream._task import Task

__all__ = ["LocalEngine", "Streamed", "Task", "Top", "logs", "ray", "stream", "top_of_files"]
