"""Releases: bundles brought to devices, proven there, replaced without a gap, and taken back.

    push("exported/machines", "/srv/models", private_key="release.pem")
    with Agent("/srv/models", "/var/lib/aetool/machines", public_key="release.pem.pub") as agent:
        agent.poll()

Read in this order: `_channel` (the signed file that says which version is current), `_store` (where it lies, or
`_oci`, `_hub`, `_remote`), `_push` (publishing), `_agent` (the device's side, and the layout of its directory),
`_download`, `_proof` (golden rows on this machine), `_watch` (a version on probation), `_state` (what the agent
remembers), `_status` (what a person and a program see of it). Programs use the current model through
`aetool.follow`, which is `aetool.runtime.following`.
"""

from aetool.release._agent import Agent, AgentOutcome, current_version
from aetool.release._channel import Channel
from aetool.release._proof import prove_apart, prove_here
from aetool.release._push import Listed, Pushed, listing, push, renew
from aetool.release._state import State, read_state
from aetool.release._status import Added, AgentStatus, add_report, status_of
from aetool.release._store import DirectoryStore, Store, open_store
from aetool.release._watch import Promise, Reported, promise_of, read_reports

__all__ = [
    "Added",
    "Agent",
    "AgentOutcome",
    "AgentStatus",
    "Channel",
    "DirectoryStore",
    "Listed",
    "Promise",
    "Pushed",
    "Reported",
    "State",
    "Store",
    "add_report",
    "current_version",
    "listing",
    "open_store",
    "promise_of",
    "prove_apart",
    "prove_here",
    "push",
    "read_reports",
    "read_state",
    "renew",
    "status_of",
]
