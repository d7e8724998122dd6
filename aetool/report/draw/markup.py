"""HTML and SVG as text, escaped by construction: everything but `Markup` is treated as plain text."""

from collections.abc import Iterable

from aetool.bundle import escape

_VOID = frozenset({"meta", "br", "hr", "col", "img", "input"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Escape `text`; `Markup` is left as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(escape.html(text))


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """Make an element; `class_` stands for class, `stroke_width` for stroke-width; None and False are left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(parts: Iterable[str | None], between: str = "") -> Markup:
    """Join the parts, each escaped."""
    return Markup(escaped(between).join(escaped(part) for part in parts if part is not None))


def number(value: float) -> str:
    """Return a coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def _value(value: str | float | bool) -> str:
    if value is True:
        return ""
    return number(value) if isinstance(value, int | float) else escaped(value)
