"""The precisions of a bundle, side by side."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from aetool.cli.output import table
from aetool.manifest import Manifest, Variant

_NUMBERS = ("threshold", "KiB", "size", "one row", "bulk", "AUROC drop", "flips", "false positives")


def show_precisions(out: Console, manifest: Manifest) -> None:
    """One line each: threshold, size and speed to fp32's, what it costs."""
    lines = [_line(name, variant, manifest) for name, variant in manifest.variants.items()]
    out.print(table(["precision", *_NUMBERS], lines, right=_NUMBERS))


def _line(name: str, variant: Variant, manifest: Manifest) -> list[str]:
    size = sum(manifest.files[file].size for file in set(variant.files.values())) / 1024
    fidelity, speed = (_mapping(variant.figures.get(key)) for key in ("fidelity", "speed"))
    rates = fidelity.get("false_positive_rate")
    false_positives = f"{rates[0]:.2%} -> {rates[1]:.2%}" if isinstance(rates, list | tuple) else ""
    ratio = _mapping(variant.figures.get("bytes_ratio")).get("all")
    return [
        name,
        f"{variant.threshold:.6g}",
        f"{size:.1f}",
        _number(ratio, "{:.2f}x"),
        _number(speed.get("one_row"), "{:.2f}x"),
        _number(speed.get("bulk"), "{:.2f}x"),
        _number(fidelity.get("auroc_drop"), "{:.4f}"),
        _number(fidelity.get("flips"), "{:.2%}"),
        false_positives,
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    """A manifest may come from elsewhere: what is no record says nothing."""
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else ""
