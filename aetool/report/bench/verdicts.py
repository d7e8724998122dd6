"""Verdicts that follow from the ratios, and warnings about unstable measurements."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.report.bench.series import Lineup, case_of, setting_of, telling
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.units import counted, percent, ratio, seconds

# Warnings about unstable measurements.

WARNING = "\N{WARNING SIGN}"
_LISTED = 5  # more are folded away


def _is_shaky(found: RatioRecord, results: Sequence[Measured]) -> bool:
    """Return whether a measurement that the ratio is made of was not stable."""
    return any(
        not one.stability.stable
        and one.contestant in (found.of, found.to)
        and case_of(one) == case_of(found)
        and setting_of(one) == setting_of(found)
        for one in results
    )


def stability_warning(found: Sequence[Measured], lineup: Lineup) -> Markup | None:
    """Return a warning about measurements that were not stable; None if all were."""
    shaky = [
        tag(
            "li",
            f"{lineup.of(one).name}, {case_of(one).words}: ",
            one.stability.reason or f"windows {percent(one.stability.spread)} apart",
            # The time in each window, from the beginning to the end.
            svg.sparkline(one.stability.windows_s, "line") if len(one.stability.windows_s) > 1 else None,
        )
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


_LESS, _SAME, _MORE, _NONE = "less", "same", "more", "none"
_WORDS = {
    _LESS: "less time",
    _MORE: "more time",
    _SAME: "no difference beyond the noise",
    _NONE: "no stable measurement",
}
_SIGNS = {
    _LESS: "\N{BLACK DOWN-POINTING TRIANGLE}",
    _MORE: "\N{BLACK UP-POINTING TRIANGLE}",
    _SAME: "\N{ALMOST EQUAL TO}",
    _NONE: WARNING,
}
_CARDS = 6


@dataclass(frozen=True, slots=True)
class JudgedRatio:
    """A ratio and its verdict."""

    ratio: RatioRecord
    kind: str  # LESS, MORE, _SAME or NONE
    setting: str  # `, int8, 2 threads`, where that tells it apart from other ratios

    @property
    def spread(self) -> str:
        """Return `0.69-0.73`, lowest and highest round."""
        low, high = (ratio(edge) for edge in self.ratio.spread)
        return f"{low[:-1]}\N{EN DASH}{high[:-1]}"

    @property
    def sentence(self) -> str:
        """Return `0.71x the time of raw-onnxruntime at p50 (spread 0.69-0.73), p99 no worse (0.80x), ...`."""
        found = self.ratio
        return (
            f"{ratio(found.p50)} the time of {found.to} at p50 (spread {self.spread}), {_tail(found)}, "
            f"{ratio(found.throughput)} the rows a second"
        )

    def badge(self) -> Markup:
        """Return the verdict as a sign and words."""
        return tag("span", f"{_SIGNS[self.kind]} {_WORDS[self.kind]}", class_=f"badge {self.kind}")


def verdicts(result: BenchResult) -> list[JudgedRatio]:
    """Return one verdict per ratio, by case."""
    settings = [setting_of(found) for found in result.ratios]
    return [
        JudgedRatio(
            found, _kind(found, result), "".join(f", {word}" for word in telling(setting_of(found), settings))
        )
        for found in sorted(result.ratios, key=lambda found: case_of(found).place)
    ]


def _kind(found: RatioRecord, result: BenchResult) -> str:
    """Return LESS or MORE where every round agrees, else _SAME; NONE for unstable measurements."""
    if _is_shaky(found, result.results):
        return _NONE
    low, high = found.spread
    return _LESS if high < 1 else _MORE if low > 1 else _SAME


def summary(result: BenchResult, found: Sequence[JudgedRatio]) -> str:
    """Summarise the result in a sentence or two."""
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
    """Return the verdicts for the least and the most rows of every graph as cards."""
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
