"""`aetool agent run`, `status` and `report`."""

import json
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say
from aetool.cli._progress import steps
from aetool.cli.commands.release import channel
from aetool.cli.main import FAILED, INTERRUPTED, NOT_CURRENT, CommandGroup
from aetool.runtime.providers import ProviderName


@click.group(cls=CommandGroup, default="run")
def agent() -> None:
    """Keep the current release on this machine.

    A STORE in place of a command means run.

    \b
    Example:
      aetool agent models -o machines --public-key signing.pem.pub
      aetool agent status machines
    """


@click.command()
@click.argument("store")
@click.option(
    "-o", "--output", type=options.PATH, required=True, help="Directory of the agent; programs use OUTPUT/current."
)
@channel
@click.option("--once", is_flag=True, help="Look once, then end.")
@click.option(
    "--interval", type=options.Duration(), default="60s", show_default=True, help="Time between two looks."
)
@click.option("--public-key", type=options.PATH, help="Take only releases signed by the owner of this key.")
@click.option("--allow-downgrade", is_flag=True, help="Take an older bundle, and an older file of the channel.")
@click.option(
    "--tolerate",
    type=options.Share(),
    default=0.0,
    help="Share of live rows that may be anomalies, besides what calibration promised.  [default: 0]",
)
@click.option("--most-errors", type=int, default=0, show_default=True, help="Errors of programs to tolerate.")
@click.option("--max-bytes", type=options.Bytes(), help="Largest size of a version.  [default: 4 GiB]")
@options.provider
@limit(table=False, bundle=True)
@reports
def run(
    store: str,
    output: Path,
    channel: str,
    once: bool,
    interval: float,
    public_key: Path | None,
    allow_downgrade: bool,
    tolerate: float,
    most_errors: int,
    max_bytes: int | None,
    provider: ProviderName,
) -> Result:
    """Keep OUTPUT/current on the version that a channel of a store names.

    A new version is downloaded, its hashes and its signature are checked, and its golden rows run here. Only then
    does OUTPUT/current change, in one step. If programs report errors, or flag another share of rows than
    calibration promised, the version before comes back, and the new one is not tried again until it is released
    anew. Use aetool.follow(OUTPUT) in a program, or aetool serve OUTPUT.

    Exit code with --once: 0 if the channel's version is in use, 3 if it was refused or taken back, 1 if the store
    or the channel's file cannot be used. Events are lines of JSON on stderr.

    \b
    Example:
      aetool agent run models -o machines --public-key signing.pem.pub --once
    """
    from aetool.release import Agent, AgentOutcome

    steps().close()
    if public_key is None:
        say("No --public-key: whatever the store holds is taken, whoever made it.")
    told: list[AgentOutcome] = []

    def tell(outcome: AgentOutcome) -> None:
        told[:] = [outcome]
        if not once:
            moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            click.echo(json.dumps({"time": moment, **outcome._asdict()}), err=True)

    stop, interrupted = threading.Event(), threading.Event()
    options_of_agent: dict[str, Any] = {} if max_bytes is None else {"most_bytes": max_bytes}
    with Agent(
        store,
        output,
        channel=channel,
        public_key=public_key,
        allow_downgrade=allow_downgrade,
        provider=provider,
        limits=limits_in_force(),
        most_errors=most_errors,
        tolerated=tolerate,
        **options_of_agent,
    ) as keeper:
        if once:
            looked, polled = keeper.look(), keeper.poll()
            tell(polled if looked is None or polled.is_good else looked)
        else:
            _stop_on_signals(stop, interrupted)
            keeper.run(tell, interval_s=interval, stop=stop)
        document = told[-1]._asdict() if told else {"event": "stopped", "version": keeper.version, "message": ""}
    pairs = [
        ("current", str(document["version"] or "none yet")),
        (str(document["event"]), str(document["message"])),
    ]
    code = INTERRUPTED if interrupted.is_set() else 0
    if once and not told[-1].is_good:
        code = FAILED if told[-1].event == "failed" else NOT_CURRENT
    return Result(document, lambda out: out.print(facts(pairs)), code)


def _stop_on_signals(stop: threading.Event, interrupted: threading.Event) -> None:
    def end(number: int, _: Any) -> None:
        if number == signal.SIGINT:
            interrupted.set()
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


@click.command()
@click.argument("directory", type=options.PATH)
@reports
def status(directory: Path) -> Result:
    """Show what an agent's directory holds, and what happened last.

    \b
    Example:
      aetool agent status machines
    """
    from aetool.release import status_of

    found = status_of(directory)
    pairs = [("current", found.version or "none yet")]
    if found.name:
        pairs.append(("model", found.name))
    pairs += [(f"channel {name}", f"sequence {number}") for name, number in found.state.sequences.items()]
    if found.version:
        pairs.append(("reported", found.reported_text))
        pairs.append(("promised", found.promised_text))
    pairs += [(f"refused {version}", each.reason) for version, each in found.state.refused.items()]
    if (last := found.state.last) is not None:
        pairs.append((f"last, {last.at}", f"{last.event}: {last.message}"))
    return Result(found.document(), lambda out: out.print(facts(pairs)))


@click.command()
@click.argument("directory", type=options.PATH)
@options.several(
    ("--rows", click.IntRange(min=0), "Rows that were scored since the last report."),
    ("--flagged", click.IntRange(min=0), "How many of them were anomalies."),
    ("--error", str, "An error of the model, in words."),
    ("--version", str, "Version that it was.  [default: the current one]"),
)
@reports
def report(
    directory: Path, rows: int | None, flagged: int | None, error: str | None, version: str | None
) -> Result:
    """Report rows, anomalies or an error of the current version to the agent.

    For programs that use OUTPUT/current without aetool.follow, in any language.

    \b
    Example:
      aetool agent report machines --rows 1000 --flagged 12
      aetool agent report machines --error "no score for 3 rows"
    """
    from aetool.release import add_report

    if rows is None and error is None:
        raise click.UsageError("nothing to report; give --rows and --flagged, or --error")
    made = add_report(directory, rows=rows or 0, flagged=flagged or 0, error=error, version=version)
    pairs = [("version", made.version), ("reported", f"{made.rows:,} rows, {made.flagged:,} flagged")]
    if made.errors:
        pairs.append(("error", made.error))
    return Result(made._asdict(), lambda out: out.print(facts(pairs)))


agent.add_section("Commands", run, status, report)
