"""`aetool segment`: learn, describe and assign groups of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, paths
from aetool.cli.options import limit, limits_in_force, needs
from aetool.cli.output import Result, reports, say
from aetool.cli.show.bundle import record_of
from aetool.cli.show.segments import show_segments
from aetool.cli.tables import beside, check_rows, given, rows_for, safe_csv
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
            self.fail(f"{value!r} is no segment's number and name; write 0=NAME", param, ctx)
        return int(number), name.strip()


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("rows", metavar="[DATA]", type=options.PATH, required=False)
@click.option("--data", type=options.PATH, help="Learn segments from this table, and add them to the bundle.")
@click.option(
    "--clusters",
    type=_Clusters(),
    metavar="N|auto",
    help="How many to learn; auto: 2 to 10, by silhouette.  [default: auto]",
)
@click.option("--seed", type=int, help="Same seed, same segments.  [default: 0]")
@click.option("--profile", is_flag=True, help="Show what each segment is.")
@click.option(
    "--name",
    "names",
    multiple=True,
    type=_Name(),
    metavar="N=NAME",
    help='Call segment N so: --name 0="Small shops"; may be given again.',
)
@options.output(
    help="CSV, Parquet, NPY or NPZ file to write the segment of each row to.  [default: CSV on stdout]"
)
@options.keep
@options.overwrite
@limit(bundle=True)
@safe_csv
@reports
def segment(
    bundle: Path,
    rows: Path | None,
    data: Path | None,
    clusters: int | str | None,
    seed: int | None,
    profile: bool,
    names: tuple[tuple[int, str], ...],
    output: Path | None,
    keep: tuple[tuple[str, ...], ...],
    overwrite: bool,
) -> Result:
    """Make, show or assign groups of similar rows.

    With --data, k-means on the embeddings makes the groups and adds them to the bundle, with what makes each
    different from everybody. With --profile it shows that again. With --name segments get names, which stay in the
    bundle until segments are made anew (an empty one takes it away). With DATA it gives the segment of every row:
    0 is the largest, -1 a row that has none, since a value is missing.

    \b
    Example:
      aetool segment exported/customers --data customers.csv --clusters 5
      aetool segment exported/customers --profile
      aetool segment exported/customers --name 0="Small shops" --name 1="Big spenders"
      aetool segment exported/customers new.csv --keep id -o segments.csv
    """
    if [data is not None, profile, bool(names), rows is not None].count(True) != 1:
        raise click.UsageError(
            "Give one of --data FILE to make segments, --profile to see them, --name to name them, DATA to use "
            "them."
        )
    if data is None and (clusters is not None or seed is not None):
        raise click.UsageError("--clusters and --seed go with --data, which segments are learnt from.")
    if rows is None and (output is not None or keep):
        raise click.UsageError("--output and --keep go with DATA, the rows to give segments to.")
    paths.require_bundle(bundle)
    if data is not None:
        return _make(bundle, data, None if clusters == "auto" else clusters, seed or 0, overwrite)
    if rows is not None:
        return _assign(bundle, rows, output, options.flat(keep), overwrite)
    return _named(bundle, dict(names)) if names else _profile(bundle)


def _make(bundle: Path, data: Path, clusters: Any, seed: int, overwrite: bool) -> Result:
    from aetool.bundle.bundle import Bundle

    with needs("train", "making segments"):
        from aetool.segments import add_segments
    rows = rows_for(Bundle.open(bundle, limits=limits_in_force()).manifest, data).values
    made = add_segments(
        bundle, rows, clusters=clusters, seed=seed, source=data.name, overwrite=overwrite, limits=limits_in_force()
    )
    manifest = made.bundle.manifest
    document = {
        "bundle": str(bundle),
        **manifest.segments,
        "parity": [record_of(record) for record in made.parity],
    }
    return Result(document, lambda out: show_segments(out, manifest.segments))


def _named(bundle: Path, names: Mapping[int, str]) -> Result:
    with needs("train", "naming segments"):
        from aetool.segments import name_segments
    name_segments(bundle, names, limits=limits_in_force())
    return _profile(bundle)


def _profile(bundle: Path) -> Result:
    from aetool.bundle.bundle import Bundle

    segments = Bundle.open(bundle, limits=limits_in_force()).manifest.segments
    if not segments:
        raise InputError(f"{bundle}: has no segments; make some: aetool segment {bundle} --data TABLE")

    def show(out: Console) -> None:
        try:
            show_segments(out, segments)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle}: the segments in its manifest were changed by hand ({type(error).__name__}: {error}); "
                f"make them again: aetool segment {bundle} --data TABLE --overwrite"
            ) from error

    return Result({"bundle": str(bundle), **segments}, show)


def _assign(bundle: Path, data: Path, output: Path | None, keep: tuple[str, ...], overwrite: bool) -> Result:
    import numpy as np

    from aetool import load
    from aetool.bundle.bundle import Bundle
    from aetool.tables import write_table

    check_rows(Bundle.open(bundle, limits=limits_in_force()).manifest, data, keep=keep)
    if output is not None:
        paths.require_free_file(output, overwrite)
    with load(bundle, limits=limits_in_force()) as model:
        rows = rows_for(model.manifest, data, keep=keep)
        found = model.run("segmenter", rows.values)
    segment = found["segment"]
    columns = beside(rows.kept, {"segment": segment, **_names(segment, model.manifest.segments)}, data)
    counts = {
        int(number): int(count) for number, count in zip(*np.unique(segment, return_counts=True), strict=True)
    }
    if -1 in counts:
        say(f"{counts[-1]:,} of {len(rows):,} rows have no segment (missing or infinite values): -1")
    sizes = ", ".join(f"{number}: {count:,}" for number, count in counts.items())
    document: dict[str, Any] = {"rows": len(rows), "counts": counts}
    return given(columns, document, output, write_table, overwrite=overwrite, more=[("segments", sizes)])


def _names(segment: Any, segments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the column segment_name, "" where a segment has none; nothing where none has."""
    import numpy as np

    from aetool.report.bundle.facts import names_of

    names = names_of(segments)
    return {"segment_name": np.array([names.get(number, "") for number in segment.tolist()])} if names else {}
