"""`aetool bench` and `aetool bench compare`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aetool.cli import options, paths
from aetool.cli.options import limit, limits_in_force
from aetool.cli.output import ProgressBar, Result, reports, say

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")  # as in aetool.bench.rounds
PEERS = (
    "raw-onnxruntime",
    "torch",
    "torch-compile",
    "openvino",
)  # as in aetool.bench.grid; a test holds them together
_WORDS = options.CommaList()
_COUNTS = options.IntegerList()


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--data", type=options.PATH, help="Rows to measure with.  [default: the golden ones]")
@click.option("--graph", "graphs", type=_WORDS, help="encode, reconstruct, score.  [default: all]")
@click.option("--provider", "providers", type=_WORDS, help="Execution providers.  [default: auto]")
@click.option("--precision", "precisions", type=_WORDS, help="Precisions of the bundle.  [default: fp32]")
@click.option("--batch", "batches", type=_COUNTS, help="Rows a query.  [default: 1,64]")
@click.option("--offline-rows", type=int, help="Rows at once, offline scenario.  [default: 16384]")
@click.option("--threads", type=_COUNTS, help="Threads inside one call.  [default: each contestant's own]")
@click.option(
    "--scenario",
    "scenarios",
    type=_WORDS,
    help=f"As in MLPerf LoadGen: {', '.join(SCENARIOS)}.  [default: single-stream,offline]",
)
@click.option("--arrivals", "arrivals_per_s", type=float, help="Queries a second, server scenario.")
@click.option(
    "--peers", type=_WORDS, help=f"Measured beside it: {', '.join(PEERS)}, or none.  [default: raw-onnxruntime]"
)
@click.option(
    "--against", type=options.PATH, help="The bundle's checkpoint, for the peers torch and torch-compile."
)
@click.option("--seconds", type=float, help="Of one turn of one contestant.  [default: 0.25]")
@click.option("--rounds", type=int, help="Turns of each contestant under each load.  [default: 6]")
@click.option("--launches", type=int, help="Processes that share these rounds, one after the other.  [default: 2]")
@click.option("--seed", type=int, help="Of rows, order of turns and arrivals.  [default: 0]")
@click.option("--profile", is_flag=True, help="Also the time of each node, by onnxruntime's profiler.")
@options.output(help="JSON file to write.")
@options.overwrite
@limit(bundle=True)
@reports
def bench(bundle: Path, data: Path | None, output: Path | None, overwrite: bool, **given: Any) -> Result:
    """Measure a bundle on this machine, beside its peers.

    Latency and throughput of every combination of the options. Each contestant has a process of its own; they take
    turns, and are compared before anything is timed.

    \b
    Example:
      aetool bench exported/machines -o before.json
      aetool bench exported/machines --graph score --batch 1,16 --peers openvino
    """
    from aetool.bench.grid import Grid, plan
    from aetool.bench.result import document_of, write_document
    from aetool.bench.run import run
    from aetool.bundle.bundle import Bundle
    from aetool.cli.show.bench import show_result
    from aetool.cli.tables import check_rows, rows_for

    if given["peers"] == ("none",):
        given["peers"] = ()
    paths.require_bundle(bundle)
    if given["against"] is not None:
        paths.require_checkpoint(given["against"])
    if data is not None:
        check_rows(Bundle.open(bundle, limits=limits_in_force()).manifest, data)
    if output is not None:
        paths.require_new_file(output, overwrite)
    grid = Grid(**{name: value for name, value in given.items() if value is not None})
    settled = plan(bundle, grid, limits_in_force())
    rows, name = None, "golden rows"
    if data is not None:
        rows, name = rows_for(settled.bundle.manifest, data).values, f"rows of {data.name}"
    with ProgressBar(total=settled.turns) as bar:
        result = run(
            settled,
            rows=rows,
            rows_name=name,
            command=["aetool", *sys.argv[1:]],
            progress=lambda text, turns: bar.update(description=text, advance=turns),
        )
    if output is not None:
        write_document(document_of(result), output, overwrite=overwrite)
    noisy = sum(not measured.stability.stable for measured in result.results)
    if noisy:
        say(f"The machine was too noisy for {noisy} of {len(result.results)} measurements; ratios hold better.")
    return Result(document_of(result), lambda out: show_result(out, result, output))


@click.command("bench compare")
@click.argument("before", type=options.PATH)
@click.argument("after", type=options.PATH)
@click.option("--different-machines", is_flag=True, help="Compare results of different machines all the same.")
@reports
def compare(before: Path, after: Path, different_machines: bool) -> Result:
    """Compare two results: faster, slower or the same.

    Two measurements are the same unless all rounds of one are faster than all rounds of the other.

    \b
    Example:
      aetool bench compare before.json after.json
    """
    from aetool.bench.compare import compare as compare_results
    from aetool.bench.result import read_result
    from aetool.cli.show.bench import show_comparison

    found = compare_results(read_result(before), read_result(after), different_machines=different_machines)
    document = {"before": str(before), "after": str(after), **asdict(found)}
    return Result(document, lambda out: show_comparison(out, found))
