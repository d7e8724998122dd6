"""`aetool watch`."""

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, lines_to, reports, say
from aetool.cli._progress import steps
from aetool.cli.main import INTERRUPTED


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("data", required=False, type=options.PATH)
@click.option("--follow", type=options.PATH, metavar="FILE", help="Read a file that grows, and its successors.")
@click.option("--mqtt", metavar="URL", help="Read messages of an MQTT topic: mqtt://[user:password@]host/topic")
@click.option("-o", "--output", type=options.PATH, help="Append alerts to this file.  [default: stdout]")
@click.option("--publish", metavar="URL", help="Publish alerts to an MQTT topic: mqtt://host/topic")
@click.option("--webhook", metavar="URL", help="POST each alert to this address.")
@click.option("--time", help="Column of the time: seconds, or dates.  [default: the bundle's]")
@click.option("--group", help="Column of the group.  [default: the bundle's; with --mqtt the topic]")
@click.option(
    "--columns",
    type=options.CommaList(),
    default=(),
    help="Names of the fields of lines without a header, or of lists.",
)
@click.option("--smooth", type=options.OfLast(), help="Alert when K of the last N scores are above the threshold.")
@click.option("--scores", is_flag=True, help="Write every score, not only alerts.")
@options.several(
    ("--max-gap", float, "Longest time between samples of a window, in seconds.  [default: the bundle's]"),
    ("--max-groups", int, "Maximum number of groups in memory.  [default: 1000]"),
    ("--state", options.PATH, "File to keep the state in: a restart goes on where the last run ended."),
)
@click.option("--sync", is_flag=True, help="Wait for the disk before a message is acknowledged: for power cuts.")
@click.option("--client-id", help="MQTT client identifier.  [default: from the names of bundle and state]")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Port of /metrics for Prometheus; 0: any.")
@options.threshold
@options.provider
@options.precision
@limit(table=False, bundle=True)
@reports
def watch(
    bundle: Path,
    data: Path | None,
    follow: Path | None,
    mqtt: str | None,
    output: Path | None,
    publish: str | None,
    webhook: str | None,
    client_id: str | None,
    smooth: tuple[int, int] | None,
    scores: bool,
    threshold: float | None,
    provider: Any,
    precision: str,
    **given: Any,
) -> Result:
    """Score samples as they arrive, and write alerts.

    Reads lines of CSV or JSON from stdin, from a file, from a file that grows (--follow), or from an MQTT broker
    (--mqtt, needs the extra mqtt). Each group, such as a machine, has a window of its own. The first line of CSV
    names the columns: pipe with tail -n +1 -F, or give --columns. A message in JSON is an object, a list of
    objects, or a list of values in the order of --columns.

    Alerts are lines of JSON: "start" when a score is above the threshold, with the channels that contribute most,
    and "end" with the peak. For a table each row that is an anomaly is an alert. Late, duplicate and malformed
    messages are counted and left out.

    With --state a run that was stopped or killed goes on where it was. Messages from MQTT are acknowledged once
    they are in the state; with a time column none is lost or scored twice. SIGTERM ends the run after the messages
    that were received.

    BUNDLE may be the directory of an agent: its current version is used, and told what was scored. When the agent
    has another version, the run ends with exit code 0, for systemd (Restart=always) to start it with that one.

    --smooth counts scores of windows, one every stride rows, as they come, where aetool score --events counts
    rows, each by all windows that cover it: alerts and events of the same log differ. An alert comes when the K-th
    abnormal window is complete; aetool evaluate --label tells how late that is.

    \b
    Example:
      aetool watch exported/machines log.csv --smooth 3/5
      aetool watch exported/machines --follow log.csv --state watch.state -o alerts.jsonl
      aetool watch exported/machines --mqtt mqtt://broker/plant/+/data --smooth 3/5 --state watch.state
    """
    if sum(each is not None for each in (data, follow, mqtt)) > 1:
        raise click.UsageError("DATA, --follow and --mqtt are sources; give one of them")
    steps().step("importing the runtime")
    from aetool import load
    from aetool.watch import (
        AgentVersion,
        FileSource,
        PipeSource,
        Stop,
        TextOutput,
        WatchCounts,
        WatchOptions,
        WebhookOutput,
    )
    from aetool.watch import watch as watch_messages

    # With another threshold, nothing was promised of the share that is flagged.
    agent = AgentVersion.of(bundle, reports=threshold is None)
    opened = bundle if agent is None else agent.bundle
    paths.require_bundle(opened)
    counts = WatchCounts()
    name = client_id or _client(bundle, given["state"])
    source: Any
    if data is not None:
        source = FileSource(data, to_its_end=True)
    elif follow is not None:
        source = FileSource(follow)
    elif mqtt is None:
        source = PipeSource(sys.stdin.fileno())
    outputs: list[Any] = []
    dropped = partial(counts.count, "dropped_alerts")
    if mqtt is not None or publish is not None:
        with needs("mqtt", "MQTT"):
            from aetool.watch.mqtt import BrokerTopic, MqttOutput, MqttSource
        if mqtt is not None:
            topic, again = BrokerTopic.read(mqtt), partial(counts.count, "reconnects")
            source = MqttSource(topic, name, reconnected=again, tell=say)
        if publish is not None:
            outputs.append(MqttOutput(BrokerTopic.read(publish), f"{name}-alerts", dropped))
    if webhook is not None:
        outputs.append(WebhookOutput(webhook, dropped, say))
    if output is not None:
        outputs.append(TextOutput.at(output))
    elif not outputs:
        outputs.append(TextOutput(lines_to(), "stdout"))
    stop, signals = Stop(), []

    def end(number: int, _: Any) -> None:
        signals.append(number)
        stop.request()

    steps().step("opening the bundle")
    with load(
        opened, provider=provider, precision=precision, threshold=threshold, limits=limits_in_force()
    ) as model:
        steps().close()
        before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            summary = watch_messages(
                model,
                source,
                WatchOptions(
                    smooth=smooth,
                    all_scores=scores,
                    **{key: value for key, value in given.items() if value is not None},
                ),
                outputs=outputs,
                stop=stop,
                tell=say,
                counts=counts,
                agent=agent,
            )
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
    found = summary.counts
    say(
        f"{found['messages']:,} messages, {found['samples']:,} samples, {found['scores']:,} scores, "
        f"{found['alerts']:,} alerts; {summary.groups:,} groups"
    )
    document = {"counts": dict(found), "groups": summary.groups, "seconds": summary.seconds}
    return Result(document, lambda out: None, INTERRUPTED if signal.SIGINT in signals else 0)


def _client(bundle: Path, state: Path | None) -> str:
    """Return an identifier that stays the same after a restart, and that another watch would not have."""
    import hashlib
    import platform

    where = f"{platform.node()} {bundle.resolve()} {state.resolve() if state else ''}"
    return f"aetool-{hashlib.sha256(where.encode()).hexdigest()[:16]}"
