"""`aetool encode`, `reconstruct` and `score` over files that need not fit in memory, on one machine or many."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import click

from aetool.cli._options import limits_in_force, needs, reading_in_force, several
from aetool.cli._output import Result, facts, say
from aetool.cli._progress import steps
from aetool.runtime.providers import ProviderName

_SHOWN = 5  # names of bad files in a message


class How(NamedTuple):
    """Options of a streamed run."""

    resume: bool
    on_error: str | None
    workers: int | None
    engine: str | None
    address: str | None
    gpus_per_worker: float | None


class Inference(NamedTuple):
    """Options of every run of a bundle over rows."""

    bundle: Path
    keep: tuple[str, ...]
    provider: ProviderName
    precision: str
    overwrite: bool
    explain: int | None = None
    threshold: float | None = None
    fdr: float | None = None
    per_segment: bool = False
    p_value: bool = False

    @property
    def rule(self) -> str | None:
        """Rule in words that decides instead of the threshold, if any."""
        if self.fdr is not None:
            return f"false discovery rate at most {self.fdr:.4g}"
        return "threshold of each segment" if self.per_segment else None

    def require_plain(self) -> None:
        """Refuse what needs all rows of one file."""
        if self.p_value or self.rule is not None:
            raise click.UsageError("--p-value, --fdr and --per-segment go with one file")

    def task(self, command: str) -> Any:
        """Return the `aetool.stream.Task`."""
        from aetool.stream import Task

        path = str(self.bundle.absolute())
        return Task(
            command,
            path,
            self.provider,
            self.precision,
            self.keep,
            limits_in_force(),
            reading_in_force(),
            threshold=self.threshold,
        )


def options(command: Any) -> Any:
    """Add the options that become `How`."""
    rest = several(
        ("--on-error", click.Choice(["stop", "skip"]), "What to do when a file cannot be read.  [default: stop]"),
        ("--workers", int, "Files to compute at a time.  [default: one per core]"),
        ("--engine", click.Choice(["local", "ray"]), "Compute on this machine, or with Ray.  [default: local]"),
        ("--address", str, "Address of a Ray cluster.  [default: Ray on this machine]"),
        ("--gpus-per-worker", float, "GPUs per Ray worker; 0.25: four workers share one."),
    )
    resume = click.option("--resume", is_flag=True, help="Continue a stopped run in the same output directory.")
    return resume(rest(command))


def is_wanted(data: tuple[str, ...], output: str | None, how: How) -> bool:
    """Return whether to stream: more than one file, or a directory as output.

    Raises:
        UsageError: more than one file without a directory as output, or options of streaming without it.
    """
    several = len(data) > 1 or _is_remote(data[0]) or not _is_one_path(data[0])
    if output is None:
        if several:
            raise click.UsageError("results of several files go into a directory; give -o DIRECTORY")
    elif is_directory(output):
        return True
    elif several:
        raise click.UsageError(
            f"-o {output}: results of several files go into a directory; give a name without an ending"
        )
    require_none(how)
    return False


def is_directory(output: str) -> bool:
    """Return whether `--output` names a directory to stream into."""
    return _is_remote(output) or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix


def require_none(how: How) -> None:
    """Refuse options of streaming."""
    if given := [name for name, value in how._asdict().items() if value]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is for streaming; give a directory as --output")


def run(command: str, what: Inference, data: tuple[str, ...], output: str, how: How) -> Result:
    """Stream `data` into the directory `output`."""
    what.require_plain()
    if what.explain:
        raise click.UsageError("--explain goes with one file; give a name with an ending as --output")
    if how.resume and what.overwrite:
        raise click.UsageError("--resume keeps what is there and --overwrite replaces it; give one of them")
    with needs("tables", "streaming"):
        from aetool.stream import stream
    engine, progress = _engine(how), _Progress()
    steps().step("finding the files")
    done = stream(
        what.task(command),
        data,
        output.rstrip("/") or "/",
        engine=engine,
        resume=how.resume,
        overwrite=what.overwrite,
        skip_bad=how.on_error == "skip",
        started=progress.start,
        progress=progress.advance,
    )
    rows = done.total("rows")
    document: dict[str, Any] = {
        "output": output,
        "rows": rows,
        "files": len(done.outcomes) - len(done.failed),
        "resumed": done.resumed,
        "failed": [{"input": outcome.source.path, "error": outcome.error} for outcome in done.failed],
        "seconds": round(done.seconds, 3),
    }
    summary = f"{rows:,} of {document['files']:,} file{'s' * (document['files'] != 1)}"
    steps().done(f"rows: {summary}")
    pairs = [("output", output), ("rows", summary)]
    if done.resumed:
        pairs.append(("resumed", f"{done.resumed:,} files were there already"))
    if command == "score":
        anomalies = done.total("anomalies")
        document |= {"threshold": done.threshold, "anomalies": anomalies}
        pairs.append(anomalies_line(anomalies, rows, done.threshold))
        tell_odd(done.total("not_finite"), rows)
    for outcome in done.failed[:_SHOWN]:
        say(f"Skipped: {outcome.error}")
    if done.failed:
        say(f"{len(done.failed):,} of {len(done.outcomes):,} files were skipped; fix them, then --resume")
    return Result(document, lambda out: out.print(facts(pairs)), exit_code=1 if done.failed else 0)


def _engine(how: How) -> Any:
    if how.engine != "ray":
        from aetool.stream import LocalEngine

        if how.address or how.gpus_per_worker:
            raise click.UsageError("--address and --gpus-per-worker are Ray's; give --engine ray too")
        return LocalEngine(how.workers)
    with needs("ray", "--engine ray"):
        from aetool.stream.ray import RayEngine

    return RayEngine(how.workers, how.address, how.gpus_per_worker or 0.0)


def _is_remote(path: str) -> bool:
    return "://" in path


def _is_one_path(path: str) -> bool:
    """Return whether it stands for one file, existing or not."""
    return not Path(path).is_dir() and (Path(path).exists() or not re.search(r"[*?\[]", path))


class _Progress:
    """Rows and bytes done; a row more or less, counted by two threads at once, is not seen."""

    def __init__(self) -> None:
        self.rows, self.done, self.size, self.steps = 0, 0, 1, steps()

    def start(self, rows: int, size: int) -> None:
        """Start with rows done already, and bytes to do."""
        self.size = max(size, 1)
        self.steps.step("computing")

    def advance(self, rows: int, size: int) -> None:
        """Add rows and bytes done since the last call."""
        self.rows += rows
        self.done += size
        self.steps.update(f"{self.rows:,} rows", self.done / self.size)


def anomalies_line(anomalies: int, rows: int, threshold: float, rule: str | None = None) -> tuple[str, str]:
    """Return the number and share of anomalies, for people."""
    return "anomalies", f"{anomalies:,} ({anomalies / max(rows, 1):.2%}), {rule or f'score above {threshold:.6g}'}"


def tell_odd(count: int, rows: int) -> None:
    """Print a note on rows without a finite score."""
    if count:
        say(f"{count:,} of {rows:,} rows have no finite score (missing or extreme values): anomalies")
