"""`aetool segment learn`, `show`, `name` and `assign`: groups of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, reports, say
from aetool.cli._progress import steps
from aetool.cli._tables import beside, check_rows, given, manifest_of, rows_for, safe_csv
from aetool.cli.main import CommandGroup
from aetool.cli.show.bundle import record_of, show_segments
from aetool.errors import BundleError, InputError


class _Clusters(click.ParamType[Any]):
    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


class _Name(click.ParamType[Any]):
    name = "N=NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number, sign, name = str(value).partition("=")
        if not sign or not number.strip().isdecimal():
            self.fail(f"{value!r} is not NUMBER=NAME, such as 0=Small", param, ctx)
        return int(number), name.strip()


@click.group(cls=CommandGroup)
def segment() -> None:
    """Learn, show, name and assign groups of similar rows.

    The segments become part of the bundle. Segment 0 is the largest.

    \b
    Example:
      aetool segment learn exported/customers customers.csv
      aetool segment assign exported/customers new.csv -o segments.csv
    """


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("data", type=options.PATH)
@click.option(
    "--clusters",
    type=_Clusters(),
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Number of segments; auto: 2 to 10, by silhouette.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same segments.")
@options.overwrite
@limit(bundle=True)
@reports
def learn(bundle: Path, data: Path, clusters: int | str, seed: int, overwrite: bool) -> Result:
    """Learn segments, and add them to a bundle.

    Runs k-means on the embeddings of DATA, and shows how each segment differs from all rows.

    \b
    Example:
      aetool segment learn exported/customers customers.csv --clusters 5
    """
    manifest = manifest_of(bundle)
    with needs("train", "making segments"):
        from aetool.segments import add_segments
    steps().step(f"reading {data.name}")
    rows = rows_for(manifest, data).values
    steps().step(f"grouping {len(rows):,} rows")
    made = add_segments(
        bundle,
        rows,
        clusters=None if clusters == "auto" else clusters,  # type: ignore[arg-type]  # a number, by _Clusters
        seed=seed,
        source=data.name,
        overwrite=overwrite,
        limits=limits_in_force(),
    )
    segments = made.bundle.manifest.segments
    document = {"bundle": str(bundle), **segments, "parity": [record_of(record) for record in made.parity]}
    return Result(document, lambda out: show_segments(out, segments))


@click.command()
@click.argument("bundle", type=options.PATH)
@limit(table=False, bundle=True)
@reports
def show(bundle: Path) -> Result:
    """Show how each segment differs from all rows.

    \b
    Example:
      aetool segment show exported/customers
    """
    return _shown(bundle)


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("names", metavar="N=NAME...", type=_Name(), nargs=-1, required=True)
@limit(table=False, bundle=True)
@reports
def name(bundle: Path, names: tuple[tuple[int, str], ...]) -> Result:
    """Name segments.

    Names last until segments are learned again. An empty name removes a name.

    \b
    Example:
      aetool segment name exported/customers 0="Small shops" 1="Big spenders"
    """
    paths.require_bundle(bundle)
    with needs("train", "naming segments"):
        from aetool.segments import name_segments
    name_segments(bundle, dict(names), limits=limits_in_force())
    return _shown(bundle)


def _shown(bundle: Path) -> Result:
    segments = manifest_of(bundle).segments
    if not segments:
        raise InputError(f"{bundle}: has no segments; make some: aetool segment learn {bundle} TABLE")

    def show(out: Console) -> None:
        try:
            show_segments(out, segments)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle}: the segments in its manifest were changed by hand ({type(error).__name__}: {error}); "
                f"make them again: aetool segment learn {bundle} TABLE --overwrite"
            ) from error

    return Result({"bundle": str(bundle), **segments}, show)


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("data", type=options.PATH)
@options.output(help="CSV, Parquet, NPY or NPZ file to write.  [default: CSV on stdout]")
@options.keep
@options.reading()
@options.overwrite
@limit(bundle=True)
@safe_csv
@reports
def assign(
    bundle: Path, data: Path, output: Path | None, keep: tuple[tuple[str, ...], ...], overwrite: bool
) -> Result:
    """Write the segment of every row of a table.

    Segment 0 is the largest. Rows with a missing value have no segment: -1. If segments have names, a column
    segment_name is added.

    \b
    Example:
      aetool segment assign exported/customers new.csv --keep id -o segments.csv
    """
    import numpy as np

    from aetool import load

    kept = options.flat(keep)
    check_rows(manifest_of(bundle), data, keep=kept)
    if output is not None:
        paths.require_free_file(output, overwrite)
    with load(bundle, limits=limits_in_force()) as model:
        steps().step(f"reading {data.name}")
        rows = rows_for(model.manifest, data, keep=kept)
        steps().step(f"computing {len(rows):,} rows")
        segment = model.run("segmenter", rows.values)["segment"]
    columns = beside(rows.kept, {"segment": segment, **_names(segment, model.manifest.segments)}, data)
    numbers, sizes = np.unique(segment, return_counts=True)
    counts = dict(zip(numbers.tolist(), sizes.tolist(), strict=True))
    if -1 in counts:
        say(f"{counts[-1]:,} of {len(rows):,} rows have no segment (missing or infinite values): -1")
    words = ", ".join(f"{number}: {count:,}" for number, count in counts.items())
    document: dict[str, Any] = {"rows": len(rows), "counts": counts}
    return given(columns, document, output, overwrite=overwrite, more=[("segments", words)])


def _names(segment: Any, segments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column segment_name, "" where a segment has none; nothing where none has."""
    import numpy as np

    from aetool.report.bundle.facts import names_of

    names = names_of(segments)
    return {"segment_name": np.array([names.get(number, "") for number in segment.tolist()])} if names else {}


segment.add_section("Commands", learn, show, name, assign)
