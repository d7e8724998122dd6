"""Printed parity, precisions and segments of a bundle."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import Manifest, Variant
from aetool.checks.parity import ROUNDING, OutputParity
from aetool.cli._output import Result, facts, file_sizes, say, show_facts, table, times_as_fast
from aetool.cli._progress import steps


def published(exported: Any, output: Path, verbose: bool) -> Result:
    """Return the result of publishing an `aetool.export.Exported`; `verbose`: with all comparisons."""
    manifest, figures = exported.bundle.manifest, exported.bundle.manifest.variants["fp32"].figures
    golden = len(read_golden(exported.bundle)["features"])
    document: dict[str, Any] = {
        "bundle": str(output),
        "input_shape": manifest.input_shape,
        "embedding_shape": manifest.embedding_shape,
        "threshold": manifest.threshold,
        "files": {file: record.size for file, record in manifest.files.items()},
        "parity": [record_of(record) for record in exported.parity],
        "notes": list(exported.notes),
    }
    for note in exported.notes:
        say(f"{note[:1].upper()}{note[1:]}")
    rows = figures.get("rows", "real")
    steps().done(f"{len(manifest.variants['fp32'].files)} graphs proven and written")

    def show(out: Console) -> None:
        if verbose:
            show_parity(out, exported.parity)
            out.print(f"Compared on {golden:,} golden rows, repeated to batches of up to 1,000.\n")
        pairs = [
            ("bundle", str(output)),
            ("files", file_sizes(document["files"])),
            ("threshold", f"{manifest.threshold['value']:.6g} ({manifest.threshold['method']})"),
            *row_threshold(manifest),
            (
                "proven",
                f"equal to {figures['reference']} on {golden:,} {rows} rows and generated probes: largest "
                f"difference {figures['max_scaled_difference']:.1e} of the range, "
                f"{figures['flipped_decisions']} decisions flipped",
            ),
        ]
        show_facts(out, pairs, f"aetool score {shlex.quote(str(output))} DATA")

    return Result(document, show)


def row_threshold(manifest: Manifest) -> list[tuple[str, str]]:
    """Return the threshold of rows for people, where a log's rows have one of their own."""
    found = manifest.row_threshold("fp32")
    return [] if found is None else [("threshold of rows", f"{found:.6g} (of a log, for --moments and --events)")]


def show_worst(out: Console, records: Sequence[OutputParity]) -> None:
    """Print one line per graph: its largest difference beside its tolerance; then reasons of failures."""
    columns = ["graph", "worst", "tolerance", "", ""]
    lines = [
        _worst_line(graph, [record for record in records if record.graph == graph])
        for graph in dict.fromkeys(record.graph for record in records)
    ]
    out.print(table(columns, lines, right=columns[1:3]))
    _show_failures(out, records)


def _worst_line(graph: str, records: Sequence[OutputParity]) -> list[str | Text]:
    decided = [record.flipped for record in records if record.flipped is not None]
    numbers = [record for record in records if record.flipped is None]
    worst = max(numbers, key=_share_of_allowed, default=None)
    verdict = Text("ok", "green") if all(record.passed for record in records) else Text("bad", "bold red")
    return [
        graph,
        "" if worst is None else f"{worst.max_scaled:.1e}",
        "" if worst is None else f"{_allowed(worst):.1e}",
        verdict,
        f"{sum(decided):,} decisions differ" if decided else "",
    ]


def _share_of_allowed(record: OutputParity) -> tuple[bool, float]:
    """Return a key to sort by: what failed last, then what comes nearest to its tolerance."""
    allowed = _allowed(record)
    return not record.passed, record.max_scaled / allowed if allowed else record.max_scaled


def _allowed(record: OutputParity) -> float:
    """Return the largest scaled difference that passes: more where float32 alone differs more."""
    return max(record.tolerance, ROUNDING * (record.float32 or 0.0))


def _show_failures(out: Console, records: Sequence[OutputParity]) -> None:
    for record in records:
        if not record.passed:
            out.print(f"{record.graph} {record.output}, {record.rows}: {record.reason}", style="red")


def show_parity(out: Console, records: Sequence[OutputParity]) -> None:
    """Print one line per graph and output, below the rows they were compared on; then reasons of failures."""
    columns = ["graph", "output", "shape", "absolute", "relative", "scaled", "", ""]
    lines: list[Sequence[str | Text]] = []
    for rows, group in groupby(records, key=lambda record: record.rows):
        if lines:
            lines.append([""] * len(columns))
        lines.append([Text(rows, "italic"), *[""] * (len(columns) - 1)])
        lines += [_parity_line(record) for record in group]
    out.print(table(columns, lines, right=("absolute", "relative", "scaled")))
    _show_failures(out, records)


def _parity_line(record: OutputParity) -> list[str | Text]:
    numbers = [f"{number:.1e}" for number in (record.max_absolute, record.max_relative, record.max_scaled)]
    agreement = "" if record.rank_correlation is None else f"rank {record.rank_correlation:.6f}"
    if record.flipped is not None:
        numbers, agreement = ["", "", ""], f"{record.flipped} flipped"
    verdict = Text("ok", "green") if record.passed else Text("bad", "bold red")
    return [record.graph, record.output, "x".join(map(str, record.shape)), *numbers, agreement, verdict]


def record_of(record: OutputParity) -> dict[str, Any]:
    """Return a record for JSON."""
    return {**asdict(record), "passed": record.passed}


# The precisions of a bundle, side by side.

_CANT_TELL = "can't tell"
_NUMBERS = ("threshold", "size", "one row", "bulk", "flips")
_MORE_NUMBERS = ("KiB", "AUROC drop", "false positives")


def show_precisions(out: Console, manifest: Manifest, *, every: bool = False) -> None:
    """Print per precision threshold, size and speed beside fp32, flipped decisions; with `every` all there is."""
    cells = [(name, _cells(variant, manifest)) for name, variant in manifest.variants.items()]
    for columns in (_NUMBERS, _MORE_NUMBERS)[: 1 + every]:  # all of them are wider than 80 columns
        lines = [[name, *(known[column] for column in columns)] for name, known in cells]
        out.print(table(["precision", *columns], lines, right=columns))


def _cells(variant: Variant, manifest: Manifest) -> dict[str, str | Text]:
    size = sum(manifest.files[file].size for file in set(variant.files.values())) / 1024
    speed = _mapping(variant.figures.get("speed"))
    return {
        "threshold": f"{variant.threshold:.6g}",
        "size": _size(_mapping(variant.figures.get("bytes_ratio")).get("all")) or f"{size:,.0f} KiB",
        "one row": _speed(speed, "one_row"),
        "bulk": _speed(speed, "bulk"),
        "KiB": f"{size:.1f}",
        **_fidelity(variant),
    }


def _size(ratio: Any) -> str:
    """Return `45 % smaller`; "" for what is no number."""
    if not isinstance(ratio, int | float):
        return ""
    return f"{abs(1 - ratio):.0%} {'smaller' if ratio < 1 else 'larger'}".replace("%", " %")


def _speed(speed: Mapping[str, Any], name: str) -> Text:
    """Return `1.5x faster`, red where it is slower; where some rounds were faster and others slower, that."""
    ratio, ends = speed.get(name), speed.get(f"{name}_range")
    if not isinstance(ratio, int | float) or ratio <= 0:
        return Text()
    if isinstance(ends, list | tuple) and len(ends) == 2 and ends[0] <= 1 <= ends[1]:
        return Text(_CANT_TELL, "dim")
    return Text(times_as_fast(ratio), "green" if ratio > 1 else "red")


def merits(variant: Variant) -> str:
    """Return what a precision gains and costs: `45 % smaller, one row 1.5x slower, bulk 1.2x faster`."""
    speed, sizes = (_mapping(variant.figures.get(key)) for key in ("speed", "bytes_ratio"))
    speeds = [(words, _speed(speed, name).plain) for words, name in (("one row", "one_row"), ("bulk", "bulk"))]
    told = [f"{words} {text}" for words, text in speeds if text and text != _CANT_TELL]
    told = told or ["no clear difference in speed"] * any(text for _, text in speeds)
    return ", ".join(filter(None, [_size(sizes.get("all")), *told]))


def costs(variant: Variant) -> list[tuple[str, str]]:
    """Return what a precision costs beside fp32, as facts."""
    cells = _fidelity(variant)
    return [(name, cells[name]) for name in ("AUROC drop", "false positives") if cells[name]]


def _fidelity(variant: Variant) -> dict[str, str]:
    fidelity = _mapping(variant.figures.get("fidelity"))
    rates = fidelity.get("false_positive_rate")
    return {
        "flips": _number(fidelity.get("flips"), "{:.2%}"),
        "AUROC drop": _number(fidelity.get("auroc_drop"), "{:.4f}"),
        "false positives": f"{rates[0]:.2%} -> {rates[1]:.2%}" if isinstance(rates, list | tuple) else "",
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping; {} for anything else, since manifests are untrusted."""
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else ""


# The segments of a bundle.

_TRAITS = 5  # shown of each segment; --json has more


def show_segments(out: Console, segments: Mapping[str, Any]) -> None:
    """Print each segment with its traits, how their number was chosen, their stability, and advice."""
    from aetool.report.bundle.facts import advice, sentence, stability, title  # the report's package starts slowly

    for entry in segments["segments"]:
        head = f"{title(entry)}: {entry['rows']:,} rows ({entry['share']:.0%})"
        out.print(Text.assemble((head, "bold"), f"  {entry['label']}" if entry["label"] else ""))
        lines: list[list[str | Text]] = [["", *sentence(trait)] for trait in entry["traits"][:_TRAITS]]
        if lines:
            out.print(table(["", "", ""], lines))
        out.print()
    silhouettes = {int(count): value for count, value in segments.get("silhouettes", {}).items()}
    if silhouettes:
        out.print(_silhouettes(silhouettes, segments["clusters"]))
        out.print()
    source = f" of {segments['data']}" if segments["data"] else ""
    missing = segments["rows_without_segment"]
    pairs = [
        ("segments", f"{segments['clusters']} ({segments['chosen']})"),
        ("learned from", f"{segments['rows']:,} rows{source}"),
        ("typical", "the median: half of the rows have less, half have more"),
        ("stability", stability(segments["stability"])),
        ("method", segments["method"]),
        *([("no segment", f"{missing:,} rows with missing or infinite values")] if missing else []),
    ]
    out.print(facts(pairs))
    if next_steps := advice(segments["clusters"], segments["stability"]["adjusted_rand_index"], silhouettes):
        out.print()
    for line in next_steps:
        out.print(line)


def _silhouettes(silhouettes: Mapping[int, float], chosen: int) -> Table:
    """Return the silhouettes that --clusters auto compared."""
    from aetool.report.bundle.facts import separation

    lines: list[list[str | Text]] = [
        [str(count), f"{value:.3f}", separation(value), "chosen" if count == chosen else ""]
        for count, value in silhouettes.items()
    ]
    return table(["segments", "silhouette", "separation", ""], lines, right=["segments", "silhouette"])
