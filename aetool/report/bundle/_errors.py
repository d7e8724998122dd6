"""Errors of the rows with the highest scores, feature by feature, as a coloured table."""

from aetool.report.bundle.records import ErrorGrid
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.tables import heat
from aetool.report.draw.units import percent, row_number

_FULL = 0.5
"""Share of the score from which a cell has the strongest colour."""


def grid(errors: ErrorGrid) -> Markup:
    """Return a table: a line for each feature, a column for each row."""
    numbers = [row_number(row) for row in errors.rows]
    lines = [
        tag(
            "tr",
            tag("th", feature, scope="row"),
            *(
                heat(
                    f"{share:.0%}"[:-1] if share >= 0.01 else "",
                    share / _FULL,
                    f"row {row}, {feature}: {percent(share)}",
                )
                for row, share in zip(numbers, shares, strict=True)
            ),
        )
        for feature, shares in zip(errors.features, errors.shares, strict=True)
    ]
    title = "Share of the score by feature and row, in percent"
    return tag(
        "div",
        tag(
            "table",
            tag("caption", title),
            tag(
                "thead",
                tag("tr", tag("th", "row", scope="col"), *(tag("th", row, scope="col") for row in numbers)),
            ),
            tag("tbody", *lines),
            class_="heat",
        ),
        class_="scroll whole",
        role="region",
        aria_label=title,
        tabindex="0",
    )
