"""`aetool verify`."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, fail, reports
from aetool.cli._progress import steps
from aetool.cli._tables import rows_for
from aetool.cli.show.bundle import record_of, show_parity, show_worst
from aetool.runtime.providers import ProviderName


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--against", type=options.PATH, help="Compare with this checkpoint in PyTorch, in float64.")
@click.option("--data", type=options.PATH, help="Rows to compare on, besides the golden rows.")
@click.option("--public-key", type=options.PATH, help="Require the signature of this key's owner.")
@click.option("--verbose", is_flag=True, help="Show the comparison for every output.")
@options.provider
@limit(bundle=True)
@reports
def verify(
    bundle: Path,
    against: Path | None,
    data: Path | None,
    public_key: Path | None,
    provider: ProviderName,
    verbose: bool,
) -> Result:
    """Check that a bundle computes what was trained.

    Checks the hash of every file and runs the golden vectors through this machine's runtime. With --data, many
    rows at once must equal one row at a time; with --against, all outputs must equal those of PyTorch. With
    --public-key, the bundle must carry the signature of this key's owner (aetool sign), and be unchanged since.

    \b
    Example:
      aetool verify exported/machines --against checkpoint --data new.csv
    """
    from aetool.bundle.bundle import Bundle
    from aetool.checks.first_run import require_first_run
    from aetool.checks.verify import verify_bundle, verify_rows

    paths.require_bundle(bundle)
    if against is not None:
        paths.require_checkpoint(against)
    limits = limits_in_force()
    # Nothing of it runs before its files are those signed.
    steps().step("checking every file's hash")
    Bundle.open_whole(bundle, public_key=public_key, limits=limits)
    steps().step("running the bundle in a process of its own")
    require_first_run(bundle)
    steps().step("comparing golden vectors")
    records = verify_bundle(bundle, provider=provider, public_key=public_key, limits=limits)
    manifest = Bundle.open(bundle, limits=limits).manifest
    rows: Any = None
    if data is not None:
        steps().step(f"reading {data.name}")
        rows = rows_for(manifest, data).values
        steps().step(f"comparing {len(rows):,} rows, alone and together")
        records += verify_rows(bundle, rows, provider=provider, limits=limits_in_force())
    if against is not None:
        with needs("train", "comparing with PyTorch"):
            from aetool.export import verify_against
            from aetool.model import load_checkpoint
        steps().step("comparing with PyTorch in float64")
        records += verify_against(bundle, load_checkpoint(against), rows, provider=provider)
    passed = all(record.passed for record in records)
    document = {
        "bundle": str(bundle),
        "passed": passed,
        "signed": public_key is not None,
        "files_checked": len(manifest.files),
        "parity": [record_of(record) for record in records],
    }

    def show(out: Console) -> None:
        (show_parity if verbose else show_worst)(out, records)
        verdict = Text("passed", "bold green") if passed else Text("FAILED", "bold red")
        sets = len({record.rows for record in records})
        counts = f": {len(manifest.files)} files unchanged, {len(records)} outputs compared"
        out.print("\n", verdict, counts, f" on {sets} sets of rows" if sets > 1 else "", sep="")
        if not verbose:
            told = "worst: the largest difference, as a share of the output's range; --verbose shows every output"
            out.print(told, style="dim")

    if not passed:
        worse = sum(not record.passed for record in records)
        fail(f"{bundle}: {worse} of {len(records)} outputs differ; do not use it here, export it again")
    return Result(document, show, exit_code=0 if passed else 1)
