"""What the ratios say, in words."""

from collections import Counter
from collections.abc import Sequence

from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.series import case_of, setting_of, telling
from aetool.report.source import BenchResult, Measurement, Ratio
from aetool.report.units import counted, percent, ratio, seconds

LESS, SAME, MORE = "less", "same", "more"
_CARDS = 6
_SIGNS = {
    LESS: "\N{BLACK DOWN-POINTING TRIANGLE}",
    SAME: "\N{ALMOST EQUAL TO}",
    MORE: "\N{BLACK UP-POINTING TRIANGLE}",
}
_WORDS = {LESS: "less time", SAME: "no difference beyond the noise", MORE: "more time"}


def in_order(ratios: Sequence[Ratio]) -> list[Ratio]:
    """The ratios by case."""
    return sorted(ratios, key=lambda one: case_of(one).place)


def setting_words(found: Ratio, ratios: Sequence[Ratio]) -> str:
    """`, int8, 2 threads`, where that tells a ratio apart from others; else nothing."""
    return "".join(f", {word}" for word in telling(setting_of(found), map(setting_of, ratios)))


def verdict(found: Ratio) -> str:
    """LESS or MORE time where every round says so, else SAME."""
    low, high = found.spread
    return LESS if high < 1 else MORE if low > 1 else SAME


def sentence(found: Ratio) -> str:
    """`0.71x the time of raw-onnxruntime at p50 (spread 0.69 to 0.73), p99 no worse`."""
    low, high = found.spread
    return (
        f"{ratio(found.p50)} the time of {found.to} at p50 (spread {low:.2f}\N{EN DASH}{high:.2f}), "
        f"{_tail(found)}, {ratio(found.throughput)} the rows a second"
    )


def summary(result: BenchResult) -> str:
    """The whole result in a sentence or two."""
    pairs = list(dict.fromkeys((found.of, found.to) for found in result.ratios))
    if not pairs:
        best = min(result.results, key=lambda found: (case_of(found).place, found.latency_s.p50))
        shown = f"{best.contestant} takes {seconds(best.latency_s.p50)} at p50 ({case_of(best).words})"
        return f"No comparison in this file. {shown}."
    told = []
    for of, to in pairs:
        found = [verdict(one) for one in result.ratios if (one.of, one.to) == (of, to)]
        counts = Counter(found)
        parts = [f"{_WORDS[kind]} in {_of(counts[kind], len(found))}" for kind in _WORDS if counts[kind]]
        told.append(f"{of} against {to}: {', '.join(parts)}.")
    return " ".join(told)


def cards(result: BenchResult) -> Markup:
    """The verdicts that are asked for first: a row alone and many at once, for every graph."""
    return tag("ul", *(_card(result, found) for found in _first(result.ratios)), class_="cards")


def is_shaky(result: BenchResult, found: Ratio) -> bool:
    """Whether a measurement that the ratio is made of was not stable."""
    return any(
        not one.stability.stable
        and one.contestant in (found.of, found.to)
        and case_of(one) == case_of(found)
        and (found.provider is None or setting_of(one) == setting_of(found))
        for one in result.results
    )


def warning(result: BenchResult, names: Sequence[str]) -> Markup | None:
    """A loud note of what was not stable; `names` are those of the results."""
    shaky = [
        tag("li", f"{name}, {case_of(found).words}: {_drift(found)}", _windows(found))
        for found, name in zip(result.results, names, strict=True)
        if not found.stability.stable
    ]
    if not shaky:
        return None
    head = f"{len(shaky)} of {counted(len(result.results), 'measurement')} not stable"
    listed: Markup = tag("ul", *shaky)
    if len(shaky) > 5:
        listed = tag("details", tag("summary", "Which"), listed)
    return tag(
        "aside",
        tag("h2", "\N{WARNING SIGN} " + head),
        tag(
            "p",
            "The time drifted while it was measured. Do not quote these: measure again on a quiet machine.",
        ),
        listed,
        class_="warning",
        aria_label="Warning",
    )


def badge(found: Ratio) -> Markup:
    """The verdict as a sign and words."""
    kind = verdict(found)
    return tag("span", f"{_SIGNS[kind]} {_WORDS[kind]}", class_=f"badge {kind}")


def _card(result: BenchResult, found: Ratio) -> Markup:
    return tag(
        "li",
        tag("p", case_of(found).words + setting_words(found, result.ratios), class_="what"),
        tag("p", tag("strong", ratio(found.p50)), " ", badge(found)),
        tag("p", sentence(found) + "."),
        tag("p", "\N{WARNING SIGN} not stable", class_="shaky") if is_shaky(result, found) else None,
    )


def _first(found: Sequence[Ratio]) -> list[Ratio]:
    """The least and the most rows of every graph, one after another."""
    least: dict[tuple[str, str], Ratio] = {}
    most: dict[tuple[str, str], Ratio] = {}
    for one in in_order(found):
        key = (one.graph, one.to)
        least.setdefault(key, one)
        if one.batch > least[key].batch and (key not in most or _size(one) > _size(most[key])):
            most[key] = one
    return [*least.values(), *most.values()][:_CARDS]


def _size(found: Ratio) -> tuple[int, bool]:
    return found.batch, found.scenario == "offline"


def _drift(found: Measurement) -> str:
    return found.stability.reason or f"windows {percent(found.stability.spread)} apart"


def _windows(found: Measurement) -> Markup | None:
    """The time in each window, from the beginning to the end."""
    windows = found.stability.windows_s
    return svg.sparkline(windows, "line") if len(windows) > 1 else None


def _tail(found: Ratio) -> str:
    if found.p99 is None:
        return "p99 has not enough samples"
    shown = ratio(found.p99)
    return f"p99 worse ({shown})" if float(f"{found.p99:.2f}") > 1 else f"p99 no worse ({shown})"


def _of(number: int, all_: int) -> str:
    if number < all_:
        return f"{number} of {all_} cases"
    return "the one case" if all_ == 1 else f"all {all_} cases"
