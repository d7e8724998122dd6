"""Options that several commands share, `--limit` among them, and imports that need an extra."""

import csv
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.schema import read_json
from aetool.choices import SCORES
from aetool.cli._progress import steps
from aetool.errors import DependencyError
from aetool.runtime.providers import PROVIDERS
from aetool.suggest import hint

# Imports that need an extra: a missing package becomes an error that names it.

_DISTRIBUTIONS = {"paho": "paho-mqtt", "prometheus_client": "prometheus-client", "sklearn": "scikit-learn"}
_EXTRAS = {"onnxruntime": "cpu", "pyarrow": "tables"}
_SLOWEST = {"train": "torch", "tables": "pyarrow", "serve": "uvicorn", "deploy": "onnx"}
"""Package of an extra that takes longest to import."""


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Turn a missing package into an error that names its extra.

    Raises:
        DependencyError: a package is missing; the message names it and the extra that brings it.
    """
    steps().step(f"importing {_SLOWEST.get(extra, extra)}")
    try:
        yield
    except DependencyError:
        raise
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        if package == "aetool":
            raise
        raise DependencyError(
            _DISTRIBUTIONS.get(package, package) or f"the extra {extra!r}", _EXTRAS.get(package, extra), purpose
        ) from error


# `--limit NAME=NUMBER`: how much a command reads of a table or a bundle whose author nobody knows.

TABLE = ("columns", "cell_bytes", "table_bytes", "compression_ratio")
"""Names of the limits of a table."""
_META = "aetool.limits"
_UNITS = {"": 1, "k": 1000, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class _Parsed(click.ParamType[Any]):
    """Type of options that are parsed once: click converts defaults and its own results again."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._parse(value, param, ctx) if isinstance(value, str) else value

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        raise NotImplementedError


class _Limit(_Parsed):
    """Limit such as `columns=200000` or `table_bytes=64GiB`, as a name and a number."""

    name = "NAME=NUMBER"

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, _, text = (part.strip() for part in value.partition("="))
        name = name.replace("-", "_")
        if name not in self.names:
            self.fail(
                f"no limit {name!r}{hint(name, self.names)}; choose one of {', '.join(self.names)}", param, ctx
            )
        if isinstance(getattr(DEFAULT_LIMITS, name), bool):
            if text.lower() not in ("true", "false"):
                self.fail(f"{name} is true or false, found {text!r:.40}", param, ctx)
            return name, text.lower() == "true"
        number = re.fullmatch(r"([0-9][0-9_,]{0,18}) ?([kmg]i?|)b?", text.lower())
        if number is None:
            self.fail(f"{name} is a number such as 200000 or 64GiB, found {text!r:.40}", param, ctx)
        return name, int(re.sub("[_,]", "", number[1])) * _UNITS[number[2]]


def limit(*, table: bool = True, bundle: bool = False) -> Callable[[Any], Any]:
    """Add `--limit`, of the tables and of the bundle that a command reads; `limits_in_force` gives the result."""
    names = tuple(name for name in Limits._fields if (table if name in TABLE else bundle))
    return click.option(
        "--limit",
        type=_Limit(names),
        multiple=True,
        expose_value=False,
        callback=lambda context, _, given: context.meta.update({_META: DEFAULT_LIMITS._replace(**dict(given))}),
        help=f"Change a limit on what is read: {', '.join(names)}.",
    )


def limits_in_force() -> Limits:
    """Return the limits of the running command."""
    context = click.get_current_context(silent=True)
    limits: Limits = DEFAULT_LIMITS if context is None else context.meta.get(_META, DEFAULT_LIMITS)
    return limits


PATH = click.Path(path_type=Path)
_Decorator = Callable[[Any], Any]


class CommaList(_Parsed):
    """Option `a,b,c` as a tuple of texts; it may be repeated."""

    name = "NAME[,NAME...]"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # Read as a line of CSV, so that a name with a comma can be quoted. The empty text is a name too: that of
        # an index column which pandas wrote.
        (names,) = csv.reader([value], skipinitialspace=True) if value else ([""],)
        return tuple(name.strip() for name in names)


class IntegerList(_Parsed):
    """Option `64,32` as a tuple of integers."""

    name = "N[,N...]"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return tuple(int(part) for part in value.split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of integers such as 64,32", param, ctx)


class ImageShape(_Parsed):
    """Option `28x28` or `3x32x32` as a tuple of integers."""

    name = "HEIGHTxWIDTH"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not re.fullmatch(r"[0-9]{1,5}([x,][0-9]{1,5}){1,2}", value.strip().lower()):
            self.fail(f"{value!r:.40} is not the shape of a picture, such as 28x28 or 3x32x32", param, ctx)
        return tuple(map(int, re.split("[x,]", value.strip().lower())))


class Count(click.IntRange):
    """Integer of 1 or more."""

    name = "integer"  # IntRange calls a word "not a valid integer range"

    def __init__(self) -> None:
        """Set the minimum."""
        super().__init__(min=1)


class _NumberList(_Parsed):
    """Option `0.5,2` as a tuple of numbers, or a JSON file of them, alone or under the option's name."""

    name = "numbers"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            if not value.lower().endswith(".json"):
                return tuple(float(part) for part in value.split(",") if part.strip())
            content = read_json(Path(value))
            numbers = content[param.name] if isinstance(content, dict) and param is not None else content
            return tuple(float(number) for number in numbers)
        except OSError as error:
            self.fail(f"{value}: cannot be read: {error.strerror}", param, ctx)
        except (ValueError, TypeError, KeyError):
            self.fail(f"{value!r} is not a list of numbers such as 0.5,2, or a JSON file of one", param, ctx)


class Share(_Parsed):
    """Option `0.5%` or `0.005` as a number."""

    name = "share"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
        try:
            return float(text) / 100 if percent else float(text)
        except ValueError:
            self.fail(f"{value!r} is not a share such as 0.5% or 0.005", param, ctx)


class Duration(_Parsed):
    """Option `500ms`, `60s`, `5m` (or `5min`), `1h`, `2d` or `60` as a number of seconds above 0."""

    name = "duration"
    units = MappingProxyType({"ms": 0.001, "": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400})

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"([0-9]{0,9}(?:\.[0-9]{1,9})?) ?([a-z]*)", value.strip().lower())
        if found is None or found[2] not in self.units or not found[1] or float(found[1]) <= 0:
            self.fail(f"{value!r} is not a duration such as 500ms, 60s, 5m or 1h", param, ctx)
        return float(found[1]) * self.units[found[2]]


class Bytes(_Parsed):
    """Option `300k`, `2M` or `8192` as a number of bytes."""

    name = "bytes"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = value.strip().lower().removesuffix("b")
        factor = {"k": 1000, "m": 1_000_000}.get(text[-1:], 1)
        number = text[:-1] if factor > 1 else text
        if not number.isdecimal() or not number.isascii():
            self.fail(f"{value!r} is not a size such as 300k or 8192", param, ctx)
        return int(number) * factor


def several(*given: tuple[Any, ...]) -> _Decorator:
    """Add options in their order, each given as its names, its type and its help."""

    def decorate(command: Any) -> Any:
        for *names, kind, text in reversed(given):
            command = click.option(*names, type=kind, help=text)(command)
        return command

    return decorate


def flat(lists: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return the values of a repeated CommaList option."""
    return tuple(name for names in lists for name in names)


overwrite = click.option("--overwrite", is_flag=True, help="Replace existing output.")
provider = click.option(
    "--provider",
    type=click.Choice(["auto", *PROVIDERS]),
    default="auto",
    show_default=True,
    help="Execution provider; an error if it does not work here.",
)


class OfLast(_Parsed):
    """Option `3/5`, K of the last N, as two numbers."""

    name = "K/N"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", value.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= 1000:
            self.fail(f"expected K/N such as 3/5, with 1 <= K <= N <= 1000, found {value!r:.40}", param, ctx)
        return int(found[1]), int(found[2])


class ScoreNumber(_Parsed):
    """Score, as a number that float32 holds."""

    name = "SCORE"

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from aetool.runtime.threshold import as_threshold

        try:
            return as_threshold(float(value))
        except ValueError:  # InputError is one
            self.fail(f"expected a number, found {value!r:.40}", param, ctx)


threshold = click.option(
    "--threshold", type=ScoreNumber(), help="Highest score that counts as normal.  [default: the bundle's]"
)
precision = click.option("--precision", default="auto", show_default=True, help="Precision of the bundle.")
drop = click.option("--drop", type=CommaList(), multiple=True, help="Columns to leave out.")
columns = click.option("--columns", type=CommaList(), multiple=True, help="Use these columns only.")
categorical = click.option(
    "--categorical",
    type=CommaList(),
    multiple=True,
    help="Columns of text or codes to one-hot encode inside the model; auto: every text column.",
)
_READING = "aetool.reading"
"""Options of `reading`, in the context."""


def reading(*, labels: bool = False) -> _Decorator:
    """Add the options of how a table's text is read; `reading_in_force` gives the result."""
    chosen = [entry for entry in _READING_OPTIONS if labels or entry[0] not in ("--normal", "--anomaly")]

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            names = [option.partition("/")[0].strip("-") for option, *_ in chosen]
            click.get_current_context().meta[_READING] = {name: kwargs.pop(name) for name in names}
            return command(*args, **kwargs)

        for option, kind, metavar, text in reversed(chosen):
            run = click.option(
                option, type=kind, metavar=metavar, help=text, default=None, multiple=option == "--na"
            )(run)
        return run

    return decorate


_VALUES = "VALUE[,VALUE...]"
_READING_OPTIONS: tuple[tuple[str, Any, str | None, str], ...] = (
    ("--normal", CommaList(), _VALUES, "Labels that mean normal.  [default: 0, no, normal, ok, ...]"),
    ("--anomaly", CommaList(), _VALUES, "Labels that mean anomaly, instead of --normal."),
    ("--na", CommaList(), _VALUES, "Cells that mean a missing value, such as -999."),
    ("--sep", str, "CHARACTER", "Separator of columns: , ; | tab or space.  [default: detected]"),
    ("--decimal", click.Choice([".", ","]), None, "Decimal mark of numbers.  [default: detected]"),
    ("--encoding", str, "NAME", "Encoding of a text file, such as cp1252.  [default: detected]"),
    ("--header/--no-header", bool, None, "The first line has, or lacks, column names.  [default: detected]"),
)
_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "bar": "|"}


def reading_in_force() -> Any:
    """Return the `aetool.tables.Reading` of the running command."""
    from aetool.tables import Reading

    context = click.get_current_context(silent=True)
    values: dict[str, Any] = {} if context is None else dict(context.meta.get(_READING, {}))
    values["na"] = flat(values.get("na") or ())
    if (sep := values.get("sep")) is not None:
        values["sep"] = _SEPARATORS.get(sep.lower(), sep)
    return Reading(**{name: value for name, value in values.items() if value is not None})


def label(command: Any) -> Any:
    """Add `--label` and the options of `reading`."""
    text = "Column that marks anomalies; not a feature."
    return click.option("--label", metavar="COLUMN", help=text)(reading(labels=True)(command))


keep = click.option(
    "--keep", type=CommaList(), multiple=True, help="Columns to copy to the output, such as an id."
)

score = click.option(
    "--score",
    type=click.Choice(SCORES),
    help="Error of a row: mean squared, mean absolute, or Euclidean distance.  [default: mse]",
)
outputs = click.option(
    "--outputs",
    type=CommaList(),
    help="Outputs in order: embedding, reconstruction, or - for neither; or by name, such as "
    "reconstruction=0,embedding=1.  [default: detected]",
)


def scaling(command: Any) -> Any:
    """Add the options for a model that was trained on scaled rows."""
    for name, text in (
        ("--maximum", "See --minimum."),
        ("--minimum", "Scale rows to (row - minimum) / (maximum - minimum), instead of --mean and --scale."),
        ("--scale", "See --mean."),
        ("--mean", "Scale rows to (row - mean) / scale: one number, one per column, or one per channel."),
    ):
        command = click.option(name, type=_NumberList(), metavar="N[,N...]|FILE.json", help=text)(command)
    return command


def budget(command: Any) -> Any:
    """Add the options that become `aetool.checks.fidelity.Budget`."""
    text = "Minimum throughput, relative to fp32.  [default: none]"
    return accuracy(click.option("--min-speedup", type=float, help=text)(command))


def accuracy(command: Any) -> Any:
    """Add the options of `Budget` that say what lower precision may cost."""
    for name, default, text in (
        ("--max-flips", 0.005, "Maximum share of rows whose decision changes.  [default: 0.5%]"),
        ("--max-auroc-drop", 0.002, "Maximum loss of AUROC.  [default: 0.002]"),
    ):
        command = click.option(name, type=Share(), default=default, help=text)(command)
    return command


PUBLISHING = ("name", "contamination", "threshold", "opset", "onnxruntime_min", "image", "overwrite")


def publishing(command: Any) -> Any:
    """Add PUBLISHING (the options that become `aetool.export.ExportOptions`), --output and --verbose."""
    for decorate in (
        click.option("--verbose", is_flag=True, help="Show the comparison for every output."),
        overwrite,
        click.option(
            "--onnxruntime-min", metavar="X.Y", help="Oldest onnxruntime that must load the bundle, such as 1.17."
        ),
        several(
            ("--name", str, "Name of the model.  [default: name of the directory]"),
            ("--contamination", float, "Share of normal rows to flag.  [default: 0.01]"),
            ("--threshold", float, "Fixed threshold, instead of --contamination."),
            ("--opset", int, "ONNX operator set.  [default: 18, or the adopted file's]"),
            ("--image", ImageShape(), "Shape of the picture that a row is, such as 28x28.  [default: detected]"),
        ),
        output(help="Bundle directory to write.  [default: exported/NAME]"),
        limit(),
    ):
        command = decorate(command)
    return command


def require_one_rule(publishing: Mapping[str, Any]) -> None:
    """Refuse a threshold that is set twice."""
    if publishing["contamination"] is not None and publishing["threshold"] is not None:
        raise click.UsageError("--contamination and --threshold both set the threshold; give one of them")


def output(help: str) -> _Decorator:
    """Add `-o`, `--output`."""
    return click.option("-o", "--output", type=PATH, help=help)
