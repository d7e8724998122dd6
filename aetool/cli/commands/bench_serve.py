"""`aetool bench serve`."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, paths
from aetool.cli.output import Result, facts, reports, say, table


@click.command("bench serve")
@click.argument("bundle", type=options.PATH)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Of the server.")
@click.option("--model", help="The bundle's name there.  [default: that of the directory]")
@click.option("--rate", type=float, help="Requests a second.  [default: half of what the server takes]")
@click.option("--p99-ms", type=float, help="Find the highest rate whose p99 stays within this.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Of one trial.")
@click.option("--connections", type=int, default=64, show_default=True, help="Kept open.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of rows and arrivals.")
@click.option("--token-file", type=options.PATH, help="File with the server's bearer token.")
@options.output(help="JSON file to write.")
@options.overwrite
@reports
def bench_serve(
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

    Requests of one row come at random times, whether the server is ready or not; latency counts from the moment
    that one was due. Before anything is timed, the server's answers are compared with the bundle's own.

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
    result = measure(plan, command=["aetool", *sys.argv[1:]], progress=say)
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
