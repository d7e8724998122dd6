"""Pictures drawn as inline SVG: a frame, scales, and the few shapes that the figures are made of.

Every picture is as wide as a phone; a page sets several side by side. Colours are classes, so that the style
sheet can change them for the dark.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aetool.report.draw.markup import Markup, joined, number, tag

WIDTH = 400
SEGMENT_COLOURS = 10  # in the style sheet
EDGE = 8  # left and right of what is drawn
_FONT = 14.0  # on a phone, where pictures are drawn smaller; 12 elsewhere
_GAP = 6  # between two names
_PER_LETTER = 0.6  # of the font's size, on average

_MARKERS = (
    "M{r},0A{r},{r} 0 1 1 -{r},0A{r},{r} 0 1 1 {r},0Z",  # circle
    "M-{q},-{q}H{q}V{q}H-{q}Z",  # square
    "M0,-{t}L{t},{r}H-{t}Z",  # triangle
    "M0,-{t}L{t},0L0,{t}L-{t},0Z",  # diamond
    "M0,{t}L{t},-{r}H-{t}Z",  # triangle, on its head
    "M-{h},-{t}H{h}V-{h}H{t}V{h}H{h}V{t}H-{h}V{h}H-{t}V-{h}H-{h}Z",  # plus
    "M-{t},-{h}L0,-{t}L{t},-{h}L{h},{t}H-{h}Z",  # pentagon
    "M-{t},-{q}H{t}L-{t},{q}H{t}Z",  # hourglass
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from low to high on pixels from start to end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = True

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`; values outside the scale are clipped to its ends."""
        inside = min(max(value, self.low), self.high)
        of = math.log if self.log else float
        share = (of(inside) - of(self.low)) / (of(self.high) - of(self.low))
        return self.start + share * (self.end - self.start)


def log_scale(values: Sequence[float], start: float, end: float, room: float = 1.08) -> Scale:
    """Fit a scale to positive values, with a factor `room` at both ends, so that one value has a scale too."""
    return Scale(min(values) / room, max(values) * room, start, end)


def picture(key: str, title: str, description: str, height: float, *shapes: str | None) -> Markup:
    """Make the frame; `key` makes the ids and must be unique on a page."""
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        *shapes,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {number(height)}",
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str, hint: str | None = None) -> Markup:
    """Draw a straight line."""
    return tag("line", _hint(hint), x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str, closed: bool = False) -> Markup:
    """Draw a line through the points, or the area inside them."""
    way = "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return tag("path", d=f"M{way}{'Z' if closed else ''}", class_=class_)


def bar(x: float, y: float, width: float, height: float, class_: str, hint: str | None = None) -> Markup:
    """Draw a rectangle."""
    return tag("rect", _hint(hint), x=x, y=y, width=max(width, 0.5), height=height, class_=class_)


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> Markup:
    """Draw text with its base line at `y`."""
    return tag("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor if anchor != "start" else None)


def marker(kind: int, x: float, y: float, class_: str, hint: str | None = None, radius: float = 4) -> Markup:
    """Draw one of the shapes that tell contestants apart without colour."""
    sizes = {"r": radius, "q": radius * 0.88, "t": radius * 1.25, "h": radius * 0.45}
    way = _MARKERS[kind % len(_MARKERS)].format(**{name: f"{value:.2f}" for name, value in sizes.items()})
    return tag("path", _hint(hint), d=way, transform=f"translate({number(x)},{number(y)})", class_=class_)


def axis_below(scale: Scale, ticks: Sequence[float], y: float, top: float, name: Callable[[float], str]) -> Markup:
    """Draw grid lines from `top` to `y`, and tick names below: the last one, and others that have room."""
    shapes = [line(scale.start, y, scale.end, y, "axis")]
    shapes += [line(scale(tick), top, scale(tick), y + 4, "grid") for tick in ticks]
    names = [(scale(tick), name(tick)) for tick in ticks]
    free = -math.inf
    for i, (x, text) in enumerate(names):
        left, right = _sides(x, text)
        is_last = i == len(names) - 1
        if left >= free and (is_last or right + _GAP <= _sides(*names[-1])[0]):
            shapes.append(label((left + right) / 2, y + 17, text, "tick", "middle"))
            free = right + _GAP
    return joined(shapes)


def _sides(x: float, text: str) -> tuple[float, float]:
    """Return left and right of a text below `x`, kept inside the picture."""
    half = text_width(text) / 2
    middle = min(max(x, half + 1), WIDTH - half - 1)
    return middle - half, middle + half


def sparkline(values: Sequence[float], class_: str, width: float = 90, height: float = 16) -> Markup:
    """Draw a line through the values, for a line of text that gives the same facts."""
    low, high = min(values), max(values)
    step = (width - 4) / max(len(values) - 1, 1)
    up = (height - 4) / ((high - low) or 1)
    points = [(2 + i * step, height - 2 - (value - low) * up) for i, value in enumerate(values)]
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", path(points, class_), viewBox=box, class_="sparkline", aria_hidden="true")


def axis_beside(scale: Scale, ticks: Sequence[float], left: float, name: Callable[[float], str]) -> Markup:
    """Draw the axis at `left`, grid lines to its right, and the ticks' names to its left."""
    shapes = [line(left, scale.end, left, scale.start, "axis")]
    for tick in ticks:
        y = scale(tick)
        shapes.append(line(left - 4, y, WIDTH - EDGE, y, "grid"))
        shapes.append(label(left - 6, y + 4, name(tick), "tick", "end"))
    return joined(shapes)


def sign(mark: Markup) -> Markup:
    """Return a mark, 14 by 14 pixels, for a line of text."""
    return tag("svg", mark, viewBox="0 0 14 14", class_="sign", aria_hidden="true")


def legend(signs: Iterable[tuple[Markup, str]]) -> Markup:
    """Return a list of marks and their meanings."""
    return tag("ul", *(tag("li", sign(mark), words) for mark, words in signs), class_="legend")


def text_width(text: str, font: float = _FONT) -> float:
    """Estimate the width of a text, in pixels."""
    return len(text) * font * _PER_LETTER


def shortened(text: str, width: float, font: float = _FONT) -> str:
    """Shorten `text` to the width."""
    letters = max(int(width / (font * _PER_LETTER)), 1)
    return text if len(text) <= letters else text[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"


def hover(centres: Sequence[float], top: float, bottom: float, hints: Sequence[str]) -> Markup:
    """Cover a picture with unseen strips, one around each of the ascending `centres`, that have tooltips."""
    edges = [centres[0], *((low + high) / 2 for low, high in itertools.pairwise(centres)), centres[-1]]
    return strips(edges, top, bottom, hints)


def strips(edges: Sequence[float], top: float, bottom: float, hints: Sequence[str]) -> Markup:
    """Cover a picture with unseen strips between the ascending `edges` that have tooltips."""
    return joined(
        bar(left, top, right - left, bottom - top, "hover", hint)
        for (left, right), hint in zip(itertools.pairwise(edges), hints, strict=True)
    )


def _hint(text: str | None) -> Markup | None:
    """Return a tooltip."""
    return None if text is None else tag("title", text)


# Ticks of an axis: few, and round numbers.

_STEPS = (1.0, 2.0, 5.0, 10.0)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return powers of ten; between them 2 and 5 where there is room; on a short axis steps as on a ruler."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if high / low >= 8:
        for within in ((1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**p for p in range(first, last + 1) for m in within]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) <= most:
                break
        return ticks[:: math.ceil(len(ticks) / most)]
    return linear_ticks(low, high, most)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


# Texts on a picture that is full already: each beside its place, none over another.

_STEP = 4.0  # from one ring of places to try to the next
_WAYS = 16  # places on a ring


class Box(NamedTuple):
    """Middle and size of a text, in pixels."""

    x: float
    y: float
    width: float
    height: float


def spread(wanted: Sequence[Box], width: float, height: float) -> list[Box]:
    """Place each box inside `width` x `height` without overlap, near where it is wanted, first ones nearest.

    A box for which there is no room stays where it was wanted.
    """
    placed: list[Box] = []
    for box in wanted:
        inside = (near for near in _around(box, math.hypot(width, height)) if _is_inside(near, width, height))
        placed.append(next((near for near in inside if not any(_meet(near, other) for other in placed)), box))
    return placed


def _around(box: Box, farthest: float) -> Iterator[Box]:
    yield box
    for ring in range(1, math.ceil(farthest / _STEP)):
        for way in range(_WAYS):
            turn = 2 * math.pi * way / _WAYS
            yield box._replace(x=box.x + ring * _STEP * math.cos(turn), y=box.y + ring * _STEP * math.sin(turn))


def _is_inside(box: Box, width: float, height: float) -> bool:
    x, y = min(box.x, width - box.x), min(box.y, height - box.y)
    return x >= box.width / 2 and y >= box.height / 2


def _meet(box: Box, other: Box) -> bool:
    across, down = abs(box.x - other.x), abs(box.y - other.y)
    return across < (box.width + other.width) / 2 and down < (box.height + other.height) / 2
