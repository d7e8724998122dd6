"""`aetool report`."""

from pathlib import Path

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
    """A page of figures made from the JSON of a benchmark.

    RESULT is what aetool bench wrote. The page is one HTML file that loads nothing: distributions, throughput
    below the machine's ceilings, rounds, tables, and the command that measures it again.

    \b
    Example:
      aetool report bench.json -o bench.html
    """
    from aetool.report import benchmark_page, read_result
    from aetool.storage import publish_file, require_new

    output = output or result.with_suffix(_ENDINGS[0])
    if output.suffix.lower() not in _ENDINGS:
        raise OutputError(f"{output}: the page is HTML; choose a name that ends in {' or '.join(_ENDINGS)}")
    require_new(output, overwrite)
    if output.exists() and result.exists() and output.samefile(result):
        raise OutputError(f"{output}: is the result itself, it will not be replaced; choose another name")
    found = read_result(result)
    content = benchmark_page(found).encode()
    publish_file(output, content, overwrite=overwrite)
    unstable = sum(not one.stability.stable for one in found.results)
    document = {
        "page": str(output),
        "bytes": len(content),
        "measurements": len(found.results),
        "unstable": unstable,
    }
    told = f"{output}: {len(found.results)} measurements, {len(content) / 1024:.0f} KiB"
    if unstable:
        told += f"; {unstable} not stable"
    return Result(document, lambda out: out.print(told))
