"""`aetool bench run`, `compare` and `serve`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.choices import PEERS, SCENARIOS
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say, table
from aetool.cli._progress import steps
from aetool.cli.main import CommandGroup

_WORDS = options.CommaList()
_COUNTS = options.IntegerList()


@click.group(cls=CommandGroup, default="run")
def bench() -> None:
    """Measure a bundle, beside its peers or behind a server.

    A BUNDLE in place of a command means run.

    \b
    Example:
      aetool bench exported/machines -o before.json
      aetool bench compare before.json after.json
    """


@click.command()
@click.argument("bundle", type=options.PATH)
@options.several(
    ("--data", options.PATH, "Rows to measure with.  [default: golden rows]"),
    ("--graph", "graphs", _WORDS, "What to measure: encode, reconstruct, score.  [default: all]"),
    ("--provider", "providers", _WORDS, "Execution providers.  [default: auto]"),
    ("--precision", "precisions", _WORDS, "Precisions of the bundle.  [default: fp32]"),
    ("--batch", "batches", _COUNTS, "Rows per query.  [default: 1,64]"),
    ("--offline-rows", int, "Rows per call in the offline scenario.  [default: 16384]"),
    ("--threads", _COUNTS, "Threads per call.  [default: that of each contestant]"),
    (
        *("--scenario", "scenarios", _WORDS),
        f"Scenario of MLPerf LoadGen: {', '.join(SCENARIOS)}.  [default: single-stream,offline]",
    ),
    ("--arrivals", "arrivals_per_s", float, "Queries per second in the server scenario."),
    ("--peers", _WORDS, f"Contestants beside it: {', '.join(PEERS)}, or none.  [default: raw-onnxruntime]"),
    ("--against", options.PATH, "Checkpoint of the bundle, for the peers torch and torch-compile."),
    ("--seconds", float, "Duration of a turn, in seconds.  [default: 0.25]"),
    ("--rounds", int, "Turns of each contestant per load.  [default: 6]"),
    ("--launches", int, "Processes that the rounds are split into.  [default: 2]"),
    ("--seed", int, "Seed of rows, order of turns and arrivals.  [default: 0]"),
)
@click.option("--profile", is_flag=True, help="Also measure each node with onnxruntime's profiler.")
@options.output(help="JSON file to write.")
@options.overwrite
@limit(bundle=True)
@reports
def run(bundle: Path, data: Path | None, output: Path | None, overwrite: bool, **given: Any) -> Result:
    """Measure a bundle on this machine, beside its peers.

    Measures latency and throughput for every combination of the options. Each contestant runs in a process of its
    own, and they take turns. Their outputs are compared before anything is timed.

    \b
    Example:
      aetool bench run exported/machines -o before.json
      aetool bench run exported/machines --graph score --batch 1,16 --peers openvino
    """
    from aetool.bench.grid import Grid, plan
    from aetool.bench.result import document_of, write_document
    from aetool.bench.run import run as measure
    from aetool.cli._tables import check_rows, manifest_of, rows_for
    from aetool.cli.show.bench import show_result

    if given["peers"] == ("none",):
        given["peers"] = ()
    paths.require_bundle(bundle)
    if given["against"] is not None:
        paths.require_checkpoint(given["against"])
    if data is not None:
        check_rows(manifest_of(bundle), data)
    if output is not None:
        paths.require_new_file(output, overwrite)
    grid = Grid(**{name: value for name, value in given.items() if value is not None})
    steps().step("checking what can be measured", stays=False)
    settled = plan(bundle, grid, limits_in_force())
    rows, name = None, "golden rows"
    if data is not None:
        rows, name = rows_for(settled.bundle.manifest, data).values, f"rows of {data.name}"
    done = 0

    def progress(text: str, turns: int) -> None:
        nonlocal done
        done += turns
        steps().update(text, done / settled.turns if done else None)

    steps().step("measuring")
    result = measure(settled, rows=rows, rows_name=name, command=["aetool", *sys.argv[1:]], progress=progress)
    steps().done(f"{len(result.results)} measurements in {settled.turns:,} turns")
    if output is not None:
        write_document(document_of(result), output, overwrite=overwrite)
    noisy = sum(not measured.stability.stable for measured in result.results)
    if noisy:
        say(f"The machine was noisy for {noisy} of {len(result.results)} measurements; ratios are more reliable.")
    return Result(document_of(result), lambda out: show_result(out, result, output))


@click.command()
@click.argument("before", type=options.PATH)
@click.argument("after", type=options.PATH)
@click.option("--different-machines", is_flag=True, help="Compare results of different machines anyway.")
@reports
def compare(before: Path, after: Path, different_machines: bool) -> Result:
    """Compare two results: faster, slower, or can't tell.

    The interval beside each verdict covers the spread between rounds and the changes of the machine and of the
    other contestants. The verdict is "can't tell" if the change is below 5 % or the interval includes no change.

    \b
    Example:
      aetool bench compare before.json after.json
    """
    from aetool.bench.compare import compare as compare_results
    from aetool.bench.result import read_result
    from aetool.cli.show.bench import show_comparison

    result = compare_results(read_result(before), read_result(after), different_machines=different_machines)
    document = {"before": str(before), "after": str(after), **asdict(result)}
    return Result(document, lambda out: show_comparison(out, result))


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Address of the server.")
@click.option("--model", help="Name of the model on the server.  [default: name of the directory]")
@click.option("--rate", type=float, help="Requests per second.  [default: half of the server's maximum]")
@click.option("--p99-ms", type=float, help="Find the highest rate whose p99 latency stays within this.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Duration of a trial, in seconds.")
@click.option("--connections", type=int, default=64, show_default=True, help="Open connections.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of rows and arrivals.")
@click.option("--token-file", type=options.PATH, help="File with the server's bearer token.")
@options.output(help="JSON file to write.")
@options.overwrite
@reports
def serve(
    bundle: Path,
    url: str,
    model: str | None,
    p99_ms: float | None,
    token_file: Path | None,
    output: Path | None,
    overwrite: bool,
    **given: Any,
) -> Result:
    """Measure a running server, such as aetool serve.

    Requests of one row arrive at random times, whether the server is ready or not. Latency counts from the moment
    when a request was due. Before anything is timed, the server's answers are compared with those of the bundle.

    \b
    Example:
      aetool bench serve exported/machines --url http://127.0.0.1:8000 --p99-ms 10
    """
    from aetool.bench.result import document_of, write_document
    from aetool.bench.serving import ServingPlan, ServingResult, measure

    paths.require_bundle(bundle)
    if output is not None:
        paths.require_new_file(output, overwrite)
    token = token_file.read_text("ascii").strip() if token_file is not None else ""
    bound = None if p99_ms is None else p99_ms / 1e3
    plan = ServingPlan(bundle, url, model or bundle.absolute().name, p99_s=bound, token=token, **given)
    result = measure(plan, command=["aetool", *sys.argv[1:]], progress=steps().step)
    if output is not None:
        write_document(document_of(result), output, overwrite=overwrite)

    def show(out: Console, result: ServingResult = result) -> None:
        lines = []
        for trial in result.trials:
            times = trial.latency_s
            shown = [times.p50, times.p90, times.p99] if times is not None else [None] * 3
            texts = ["" if value is None else f"{value * 1e3:.2f} ms" for value in shown]
            lines.append(
                [f"{trial.arrivals_per_s:,.0f}", f"{trial.answered_per_s:,.0f}", str(trial.failed), *texts]
            )
        names = ["arrivals/s", "answered/s", "failed", "p50", "p90", "p99"]
        out.print(table(names, lines, right=names))
        late = max(trial.late_p99_s for trial in result.trials)
        pairs = [
            ("closed loop", f"{result.closed_loop_per_s:,.0f} requests/s on {plan.connections} connections"),
            ("client late", f"{late * 1e3:.2f} ms at p99"),
        ]
        if p99_ms is not None:
            highest = "none" if result.highest is None else f"{result.highest:,.0f} requests/s"
            pairs.append((f"p99 <= {p99_ms:g} ms", highest))
        out.print()
        out.print(facts(pairs + ([("result", str(output))] if output else [])))

    return Result(document_of(result), show)


bench.add_section("Commands", run, compare, serve)
