"""HTML and SVG as text, escaped by construction: what is not `Markup` already is somebody's text."""

from collections.abc import Iterable

from aetool.bundle import escape

_VOID = frozenset({"meta", "br", "hr", "col", "input"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """`text` as HTML that shows it; `Markup` is left as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(escape.html(text))


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """An element; `class_` is the attribute class, `stroke_width` is stroke-width, None and False are left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(parts: Iterable[str | None], between: str = "") -> Markup:
    """The parts one after another, each escaped."""
    return Markup(escaped(between).join(escaped(part) for part in parts if part is not None))


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _value(value: str | float | bool) -> str:
    if value is True:
        return ""
    return number(value) if isinstance(value, int | float) else escaped(value)
