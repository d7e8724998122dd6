"""A bundle over samples that arrive one by one: from a pipe, a file that grows, or an MQTT broker.

Read in this order: `watcher` (Watcher, which ties the parts together), `_messages` (text to samples), `_groups` (a
stream for each group, alerts), `_journal` (what survives a kill), `_lines` and `mqtt` (where messages come from),
`_outputs` (where alerts go), `_metrics` (counts, and the port that shows them).
"""

from aetool.watch._lines import FileSource, PipeSource, Stop
from aetool.watch._metrics import Counts
from aetool.watch._outputs import TextOutput, WebhookOutput
from aetool.watch.watcher import Options, Summary, Watcher, watch

__all__ = [
    "Counts",
    "FileSource",
    "Options",
    "PipeSource",
    "Stop",
    "Summary",
    "TextOutput",
    "Watcher",
    "WebhookOutput",
    "mqtt",
    "watch",
    "watcher",
]
