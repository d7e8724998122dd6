"""HTML and SVG as text, escaped by construction: everything but `Markup` is treated as plain text."""

from collections.abc import Iterable, Sequence

from aetool.bundle import escape
from aetool.report.draw.units import MISSING

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


# Tables and lists of facts

Cell = str | Markup | tuple[str, float]  # text, or text and the number that it is sorted by


def dash(reason: str) -> Markup:
    """Return a dash with its reason for pointers and screen readers."""
    return joined(
        [
            tag("span", MISSING, title=reason, class_="missing", aria_hidden="true"),
            tag("span", reason, class_="unseen"),
        ]
    )


_LONG = 50  # letters of a text that takes several lines
_WIDE = 12  # columns that need a page on its side
_NOT_MEASURED = dash("not measured")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell | None]], headers: int = 1) -> Markup:
    """Return a table that scrolls sideways; the first `headers` cells of a row are its header."""
    aside = {i for row in rows for i, cell in enumerate(row) if isinstance(cell, tuple)}  # columns of numbers
    classes = ["number" if i in aside else None for i in range(len(columns))]
    head = tag("tr", *(tag("th", name, scope="col", class_=c) for name, c in zip(columns, classes, strict=True)))
    body = [
        tag("tr", *(_cell(cell, classes[i], is_header=i < headers) for i, cell in enumerate(row))) for row in rows
    ]
    return tag(
        "div",
        tag("table", tag("caption", title), tag("thead", head), tag("tbody", *body)),
        class_="scroll widest" if len(columns) > _WIDE else "scroll",
        role="region",
        aria_label=title,
        tabindex="0",
    )


def _cell(cell: Cell | None, class_: str | None, is_header: bool) -> Markup:
    name, scope = ("th", "row") if is_header else ("td", None)
    if isinstance(cell, tuple):
        text, value = cell
        return tag(name, text, scope=scope, class_=class_, data_value=f"{value:.6g}")
    if isinstance(cell, str) and not isinstance(cell, Markup) and len(cell) > _LONG:
        class_ = "long"
    return tag(name, _NOT_MEASURED if cell is None else cell, scope=scope, class_=class_)


_HEAT = 8  # steps of colour, in the style sheet


def heat(text: str, share: float, hint: str) -> Markup:
    """Return a cell coloured by `share`, -1 to 1; negative ones have another colour."""
    step = min(round(abs(share) * _HEAT), _HEAT)
    class_ = f"{'cold' if share < 0 else 'hot'} h{step}" if step else None
    return tag("td", text, title=hint, class_=class_, data_value=f"{share:.4g}")


def listed(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Return names and their texts as a list."""
    return tag("dl", *(joined([tag("dt", name), tag("dd", text)]) for name, text in pairs))
