"""Proof of a downloaded bundle on this machine, in a process of its own: its golden rows.

A wrong result, a crash and a hang of that process are all reasons not to use the bundle.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from aetool.bundle.files import AnyPath, Limits
from aetool.bundle.schema import loads
from aetool.checks.first_run import PATIENCE_S, run_apart
from aetool.checks.verify import verify_bundle
from aetool.errors import AetoolError, DependencyError, ProviderError, ReleaseError
from aetool.runtime.providers import ProviderName

Prove = Callable[[Path, ProviderName, AnyPath | None, Limits], str | None]
"""Returns why a bundle does not compute here what it should; None where it does."""
_PROGRAM = Path(__file__)


def prove_here(path: Path, provider: ProviderName, public_key: AnyPath | None, limits: Limits) -> str | None:
    """Return what is wrong with the bundle at `path` on this machine, or None; in this process.

    Raises:
        DependencyError: a package is missing, which is no fault of the bundle.
        ProviderError: the provider does not work here; the same.
    """
    key = None if public_key is None else Path(public_key)
    try:
        records = verify_bundle(path, provider=provider, public_key=key, limits=limits)
    except (DependencyError, ProviderError):
        raise
    except AetoolError as error:
        return str(error)
    failed = [record for record in records if not record.passed]
    if not failed:
        return None
    first = failed[0]
    return (
        f"{first.graph} {first.output} of the golden rows differs on this machine ({first.reason}), in "
        f"{len(failed)} of {len(records)} comparisons"
    )


def prove_apart(path: Path, provider: ProviderName, public_key: AnyPath | None, limits: Limits) -> str | None:
    """Return what `prove_here` does, by a process of its own; a crash, or a hang, is an answer too.

    Raises:
        ReleaseError: as `prove_here`, or the process could not begin.
    """
    if getattr(sys, "frozen", False):  # no interpreter to start
        return prove_here(path, provider, public_key, limits)
    options = {"provider": provider, "public_key": public_key and str(public_key), "limits": limits._asdict()}
    ended = run_apart(_PROGRAM, str(path.resolve()), json.dumps(options), seconds=PATIENCE_S)
    if ended.how is not None:
        return f"the proof {ended.how} on this machine"
    if ended.code != 0:
        raise ReleaseError(
            f"{path}: cannot be proven here: {ended.complained or 'no message'}; install what is missing"
        )
    try:
        answer = loads(ended.said)
        return cast(str | None, answer["fault"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"{path}: cannot be proven here: {ended.complained or ended.said}; try again"
        ) from error


def _child() -> None:
    path, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    limits = Limits(**options["limits"])
    try:
        answer: dict[str, Any] = {"fault": prove_here(path, options["provider"], options["public_key"], limits)}
    except AetoolError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _child()
