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


def _is_shaky(record: RatioRecord, results: Sequence[Measured]) -> bool:
    """Return whether a measurement that the ratio is made of was not stable."""
    return any(
        not measured.stability.stable
        and measured.contestant in (record.of, record.to)
        and case_of(measured) == case_of(record)
        and setting_of(measured) == setting_of(record)
        for measured in results
    )


def stability_warning(measurements: Sequence[Measured], lineup: Lineup) -> Markup | None:
    """Return a warning about measurements that were not stable; None if all were."""
    shaky = [
        tag(
            "li",
            f"{lineup.of(measured).name}, {case_of(measured).words}: ",
            measured.stability.reason or f"windows {percent(measured.stability.spread)} apart",
            # The time in each window, from the beginning to the end.
            svg.sparkline(measured.stability.windows_s, "line") if len(measured.stability.windows_s) > 1 else None,
        )
        for measured in measurements
        if not measured.stability.stable
    ]
    if not shaky:
        return None
    listed = tag("ul", *shaky)
    return tag(
        "aside",
        tag("h2", f"{WARNING} {len(shaky)} of {counted(len(measurements), 'measurement')} not stable"),
        tag(
            "p",
            "Their times drifted during the measurement. Measure again on a quiet machine before quoting them.",
        ),
        listed if len(shaky) <= _LISTED else tag("details", tag("summary", "Which"), listed),
        class_="warning",
        aria_label="Warning",
    )


_LESS, _SAME, _MORE, _NONE = "less", "same", "more", "none"
_WORDS = {
    _LESS: "faster",
    _MORE: "slower",
    _SAME: "no difference beyond the noise",
    _NONE: "no stable measurement",
}
_SIGNS = {
    _LESS: "\N{BLACK UP-POINTING TRIANGLE}",
    _MORE: "\N{BLACK DOWN-POINTING TRIANGLE}",
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
        """Return `Takes 0.71x the time of raw-onnxruntime at p50 (spread 0.69-0.73), ...`."""
        record = self.ratio
        return (
            f"Takes {ratio(record.p50)} the time of {record.to} at p50 (spread {self.spread}), {_tail(record)}, "
            f"{ratio(record.throughput)} as many rows/s"
        )

    @property
    def factor(self) -> str:
        """Return `1.41x` for a verdict of faster or slower, at p50."""
        time = self.ratio.p50
        return ratio(1 / time if self.kind == _LESS else time)

    def badge(self) -> Markup:
        """Return the verdict as a sign and words."""
        return tag("span", f"{_SIGNS[self.kind]} {_WORDS[self.kind]}", class_=f"badge {self.kind}")


def verdicts(result: BenchResult) -> list[JudgedRatio]:
    """Return one verdict per ratio, by case."""
    settings = [setting_of(record) for record in result.ratios]
    return [
        JudgedRatio(
            record, _kind(record, result), "".join(f", {word}" for word in telling(setting_of(record), settings))
        )
        for record in sorted(result.ratios, key=lambda record: case_of(record).order)
    ]


def _kind(record: RatioRecord, result: BenchResult) -> str:
    """Return LESS or MORE where every round agrees, else _SAME; NONE for unstable measurements."""
    if _is_shaky(record, result.results):
        return _NONE
    low, high = record.spread
    return _LESS if high < 1 else _MORE if low > 1 else _SAME


def summary(result: BenchResult, verdicts: Sequence[JudgedRatio]) -> str:
    """Summarise the result in a sentence or two."""
    if not verdicts:
        best = min(result.results, key=lambda measured: (case_of(measured).order, measured.latency_s.p50))
        shown = f"{best.contestant} takes {seconds(best.latency_s.p50)} at p50 ({case_of(best).words})"
        return f"No comparison in this file. {shown}."
    sentences = []
    for of, to in dict.fromkeys((verdict.ratio.of, verdict.ratio.to) for verdict in verdicts):
        kinds = [verdict.kind for verdict in verdicts if (verdict.ratio.of, verdict.ratio.to) == (of, to)]
        counts = Counter(kinds)
        parts = [f"{_WORDS[kind]} in {_of(counts[kind], len(kinds))}" for kind in _WORDS if counts[kind]]
        sentences.append(f"{of} against {to}: {', '.join(parts)}.")
    return " ".join(sentences)


def cards(verdicts: Sequence[JudgedRatio]) -> Markup:
    """Return the verdicts for the least and the most rows of every graph as cards."""
    least: dict[tuple[str, str], JudgedRatio] = {}
    most: dict[tuple[str, str], JudgedRatio] = {}
    for verdict in verdicts:
        key = (verdict.ratio.graph, verdict.ratio.to)
        least.setdefault(key, verdict)
        if verdict.ratio.batch > least[key].ratio.batch and (key not in most or _size(verdict) > _size(most[key])):
            most[key] = verdict
    chosen = [*least.values(), *most.values()][:_CARDS]
    return tag("ul", *(_card(verdict) for verdict in chosen), class_="cards")


def _card(verdict: JudgedRatio) -> Markup:
    return tag(
        "li",
        tag("p", case_of(verdict.ratio).words + verdict.setting, class_="what"),
        tag("p", tag("strong", verdict.factor), " ", verdict.badge()),
        tag("p", verdict.sentence + "."),
    )


def _size(verdict: JudgedRatio) -> tuple[int, bool]:
    return verdict.ratio.batch, verdict.ratio.scenario == "offline"


def _tail(record: RatioRecord) -> str:
    if record.p99 is None:
        return "too few samples for p99"
    shown = ratio(record.p99)
    return f"{shown} at p99"


def _of(number: int, all_: int) -> str:
    if number < all_:
        return f"{number} of {all_} cases"
    return "the one case" if all_ == 1 else f"all {all_} cases"
