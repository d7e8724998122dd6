"""A bundle over samples that arrive one by one: from a pipe, a file that grows, or an MQTT broker.

Read in this order: `watcher` (Watcher, which ties the parts together), `_messages` (text to samples), `_groups` (a
stream for each group, alerts), `_journal` (what survives a kill), `_lines` and `mqtt` (where messages come from),
`_outputs` (where alerts go), `_counts` (counts, and the port that shows them).
"""

from aetool.watch._counts import AgentVersion, WatchCounts
from aetool.watch._lines import FileSource, PipeSource, Stop
from aetool.watch._outputs import TextOutput, WebhookOutput
from aetool.watch.watcher import Watcher, WatchOptions, WatchSummary, watch

__all__ = [
    "AgentVersion",
    "FileSource",
    "PipeSource",
    "Stop",
    "TextOutput",
    "WatchCounts",
    "WatchOptions",
    "WatchSummary",
    "Watcher",
    "WebhookOutput",
    "mqtt",
    "watch",
    "watcher",
]
