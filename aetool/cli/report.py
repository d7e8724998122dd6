"""`aetool report`."""

from pathlib import Path
from typing import Any

import click

from aetool.cli import options
from aetool.cli.output import Result, reports
from aetool.errors import OutputError

_ENDINGS = (".html", ".htm")


@click.command()
@click.argument("result", type=options.PATH)
@options.output("Page to write.  [default: RESULT.html beside it]")
@options.overwrite
@reports
def report(result: Path, output: Path | None, overwrite: bool) -> Result:
    """A page of figures made from the JSON of a measurement.

    RESULT is what aetool bench or aetool tune wrote. The page is one HTML file that loads nothing: distributions,
    throughput below the machine's ceilings, rounds, speed against fidelity, tables, and the command that measures
    it again.

    \b
    Example:
      aetool report bench.json -o bench.html
      aetool report exported/machines.tuning.json -o tuning.html
    """
    from aetool.report import TuningResult, benchmark_page, read_result, tuning_page
    from aetool.storage import publish_file, require_new

    output = output or result.with_suffix(_ENDINGS[0])
    if output.suffix.lower() not in _ENDINGS:
        raise OutputError(f"{output}: the page is HTML; choose a name that ends in {' or '.join(_ENDINGS)}")
    require_new(output, overwrite)
    if output.exists() and result.exists() and output.samefile(result):
        raise OutputError(f"{output}: is the result itself, it will not be replaced; choose another name")
    found = read_result(result)
    content = (tuning_page(found) if isinstance(found, TuningResult) else benchmark_page(found)).encode()
    publish_file(output, content, overwrite=overwrite)
    counts, words = _tuning(found) if isinstance(found, TuningResult) else _benchmark(found)
    told = f"{output}: {words[0]}, {len(content) / 1024:.0f} KiB{words[1]}"
    return Result({"page": str(output), "bytes": len(content), **counts}, lambda out: out.print(told))


def _benchmark(found: Any) -> tuple[dict[str, int], tuple[str, str]]:
    """Counts for programs, and what a person is told before and after the size."""
    unstable = sum(not one.stability.stable for one in found.results)
    counts = {"measurements": len(found.results), "unstable": unstable}
    return counts, (f"{len(found.results)} measurements", f"; {unstable} not stable" if unstable else "")


def _tuning(found: Any) -> tuple[dict[str, int], tuple[str, str]]:
    return {"candidates": len(found.trials)}, (f"{len(found.trials)} candidates", "")
