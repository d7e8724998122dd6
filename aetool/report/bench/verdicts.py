"""What the ratios say, in words and as figures, and warnings about unstable measurements."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.report.bench.series import Lineup, case_of, setting_of, telling
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.svg import log_ticks
from aetool.report.draw.units import TIMES, counted, percent, ratio, rows, seconds

# What was not stable while it was measured, told loudly.

WARNING = "\N{WARNING SIGN}"
_LISTED = 5  # more are folded away


def is_shaky(found: RatioRecord, results: Sequence[Measured]) -> bool:
    """Whether a measurement that the ratio is made of was not stable."""
    return any(
        not one.stability.stable
        and one.contestant in (found.of, found.to)
        and case_of(one) == case_of(found)
        and setting_of(one) == setting_of(found)
        for one in results
    )


def stability_warning(found: Sequence[Measured], lineup: Lineup) -> Markup | None:
    """A note of what was not stable, and how its time went; None if everything was."""
    shaky = [
        tag("li", f"{lineup.of(one).name}, {case_of(one).words}: {_drift(one)}", _windows(one))
        for one in found
        if not one.stability.stable
    ]
    if not shaky:
        return None
    listed = tag("ul", *shaky)
    return tag(
        "aside",
        tag("h2", f"{WARNING} {len(shaky)} of {counted(len(found), 'measurement')} not stable"),
        tag("p", "Their time drifted while it was measured. Do not quote them: measure again on a quiet machine."),
        listed if len(shaky) <= _LISTED else tag("details", tag("summary", "Which"), listed),
        class_="warning",
        aria_label="Warning",
    )


def _drift(found: Measured) -> str:
    return found.stability.reason or f"windows {percent(found.stability.spread)} apart"


def _windows(found: Measured) -> Markup | None:
    """The time in each window, from the beginning to the end."""
    windows = found.stability.windows_s
    return svg.sparkline(windows, "line") if len(windows) > 1 else None


LESS, SAME, MORE, NONE = "less", "same", "more", "none"
_WORDS = {
    LESS: "less time",
    MORE: "more time",
    SAME: "no difference beyond the noise",
    NONE: "no stable measurement",
}
_SIGNS = {
    LESS: "\N{BLACK DOWN-POINTING TRIANGLE}",
    MORE: "\N{BLACK UP-POINTING TRIANGLE}",
    SAME: "\N{ALMOST EQUAL TO}",
    NONE: WARNING,
}
_CARDS = 6


@dataclass(frozen=True, slots=True)
class JudgedRatio:
    """A ratio, and what may be said of it."""

    ratio: RatioRecord
    kind: str  # LESS, MORE, SAME or NONE
    setting: str  # `, int8, 2 threads`, where that tells it apart from other ratios

    @property
    def spread(self) -> str:
        """`0.69-0.73`, lowest and highest round."""
        low, high = (ratio(edge) for edge in self.ratio.spread)
        return f"{low[:-1]}\N{EN DASH}{high[:-1]}"

    @property
    def sentence(self) -> str:
        """`0.71x the time of raw-onnxruntime at p50 (spread 0.69-0.73), p99 no worse (0.80x), ...`."""
        found = self.ratio
        return (
            f"{ratio(found.p50)} the time of {found.to} at p50 (spread {self.spread}), {_tail(found)}, "
            f"{ratio(found.throughput)} the rows a second"
        )

    def badge(self) -> Markup:
        """The verdict as a sign and words."""
        return tag("span", f"{_SIGNS[self.kind]} {_WORDS[self.kind]}", class_=f"badge {self.kind}")


def verdicts(result: BenchResult) -> list[JudgedRatio]:
    """One for every ratio, by case."""
    settings = [setting_of(found) for found in result.ratios]
    return [
        JudgedRatio(
            found, _kind(found, result), "".join(f", {word}" for word in telling(setting_of(found), settings))
        )
        for found in sorted(result.ratios, key=lambda found: case_of(found).place)
    ]


def _kind(found: RatioRecord, result: BenchResult) -> str:
    """LESS or MORE where every round says so, else SAME; nothing is said of what was not stable."""
    if is_shaky(found, result.results):
        return NONE
    low, high = found.spread
    return LESS if high < 1 else MORE if low > 1 else SAME


def summary(result: BenchResult, found: Sequence[JudgedRatio]) -> str:
    """The whole result in a sentence or two."""
    if not found:
        best = min(result.results, key=lambda one: (case_of(one).place, one.latency_s.p50))
        shown = f"{best.contestant} takes {seconds(best.latency_s.p50)} at p50 ({case_of(best).words})"
        return f"No comparison in this file. {shown}."
    told = []
    for of, to in dict.fromkeys((one.ratio.of, one.ratio.to) for one in found):
        kinds = [one.kind for one in found if (one.ratio.of, one.ratio.to) == (of, to)]
        counts = Counter(kinds)
        parts = [f"{_WORDS[kind]} in {_of(counts[kind], len(kinds))}" for kind in _WORDS if counts[kind]]
        told.append(f"{of} against {to}: {', '.join(parts)}.")
    return " ".join(told)


def cards(found: Sequence[JudgedRatio]) -> Markup:
    """The verdicts that are asked for first: the least and the most rows, for every graph."""
    least: dict[tuple[str, str], JudgedRatio] = {}
    most: dict[tuple[str, str], JudgedRatio] = {}
    for one in found:
        key = (one.ratio.graph, one.ratio.to)
        least.setdefault(key, one)
        if one.ratio.batch > least[key].ratio.batch and (key not in most or _size(one) > _size(most[key])):
            most[key] = one
    chosen = [*least.values(), *most.values()][:_CARDS]
    return tag("ul", *(_card(one) for one in chosen), class_="cards")


def _card(found: JudgedRatio) -> Markup:
    return tag(
        "li",
        tag("p", case_of(found.ratio).words + found.setting, class_="what"),
        tag("p", tag("strong", ratio(found.ratio.p50)), " ", found.badge()),
        tag("p", found.sentence + "."),
    )


def _size(found: JudgedRatio) -> tuple[int, bool]:
    return found.ratio.batch, found.ratio.scenario == "offline"


def _tail(found: RatioRecord) -> str:
    if found.p99 is None:
        return "p99 has not enough samples"
    shown = ratio(found.p99)
    return f"p99 worse ({shown})" if float(f"{found.p99:.2f}") > 1 else f"p99 no worse ({shown})"


def _of(number: int, all_: int) -> str:
    if number < all_:
        return f"{number} of {all_} cases"
    return "the one case" if all_ == 1 else f"all {all_} cases"


# Ratios against a peer: a sign at the median of the rounds, a line from the lowest to the highest.

_ROW = 33.0
_HEAD = 16.0
_SHAPES = {LESS: 4, MORE: 2, SAME: 0, NONE: 5}


def ratio_figures(found: Sequence[JudgedRatio]) -> list[Markup]:
    """One figure a graph and peer, all on one scale."""
    groups: dict[tuple[str, str, str], list[JudgedRatio]] = {}
    for one in found:
        groups.setdefault((one.ratio.graph, one.ratio.of, one.ratio.to), []).append(one)
    edges = [edge for one in found for edge in one.ratio.spread]
    scale = svg.log_scale([1.0, *edges], svg.EDGE, svg.WIDTH - svg.EDGE, 1.06)
    return [_figure(f"ratio-{i}", *key, group, scale) for i, (key, group) in enumerate(groups.items())]


def _figure(key: str, graph: str, of: str, to: str, found: Sequence[JudgedRatio], scale: svg.Scale) -> Markup:
    bottom = _HEAD + _ROW * len(found) + 2
    even = scale(1.0)
    picture = svg.picture(
        key,
        f"Time of {of} as a multiple of {to}, {graph}",
        " ".join(f"{_name(one)}: {one.sentence}." for one in found),
        bottom + 24,
        svg.axis_below(scale, log_ticks(scale.low, scale.high, 8), bottom, _HEAD, _tick),
        svg.line(even, _HEAD, even, bottom, "even"),
        svg.label(even - 6, 11, "less time", "tick", "end") if even > 80 else None,
        svg.label(even + 6, 11, "more time", "tick") if even < svg.WIDTH - 80 else None,
        *(_row(one, scale, _HEAD + i * _ROW) for i, one in enumerate(found)),
    )
    return tag("figure", tag("figcaption", f"{graph}: {of} against {to}"), picture)


def _row(found: JudgedRatio, scale: svg.Scale, top: float) -> Markup:
    low, high = (scale(edge) for edge in found.ratio.spread)
    y, sign = top + 23, _SHAPES[found.kind]
    return tag(
        "g",
        svg.label(svg.EDGE, top + 13, svg.shortened(_name(found), svg.WIDTH - 70), "name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 13, ratio(found.ratio.p50), "value", "end"),
        svg.line(low, y, high, y, f"spread {found.kind}"),
        svg.marker(sign, scale(found.ratio.p50), y, f"verdict {found.kind}", found.sentence),
    )


def _name(found: JudgedRatio) -> str:
    return f"{rows(found.ratio.batch)}, {found.ratio.scenario}{found.setting}"


def _tick(value: float) -> str:
    return f"{value:.3g}{TIMES}"
