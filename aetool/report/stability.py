"""What was not stable while it was measured, told loudly."""

from collections.abc import Sequence

from aetool.bench.result import Measured, RatioRecord
from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.series import Lineup, case_of, setting_of
from aetool.report.units import counted, percent

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


def warning(found: Sequence[Measured], lineup: Lineup) -> Markup | None:
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
