"""Numbers for people, ticks, scales, and where the ceilings are."""

import re
from importlib import resources

import pytest

from aetool.report import read_result
from aetool.report.bench import _throughput as throughput
from aetool.report.draw import svg, units
from aetool.report.draw.markup import Markup, escaped, tag
from aetool.report.draw.svg import linear_ticks, log_ticks


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8.1e-6, "8.10 µs"),
        (34e-6, "34.0 µs"),
        (239.4e-6, "239 µs"),
        (0.9996e-3, "1.00 ms"),
        (1.5, "1.50 s"),
        (4321, "4320 s"),
        (2e-10, "0.200 ns"),
        (0, "0 ns"),
    ],
)
def test_seconds(value, shown):
    assert units.seconds(value) == shown


def test_other_numbers():
    assert [units.count(value) for value in (0, 512, 999.7, 4096, 1.234e6)] == ["0", "512", "1k", "4.1k", "1.23M"]
    assert [units.size(value) for value in (12, 540_000, 16 * 2**30)] == ["12 B", "527 KiB", "16 GiB"]
    shares = [units.percent(x, signed=True) for x in (0, -1e-5, -0.0305, 0.02, 1)]
    assert shares == [f"{n}{units.NO_BREAK}%" for n in ("0.0", "0.0", "\N{MINUS SIGN}3.0", "+2.0", "+100.0")]
    assert [units.percent(x) for x in (0.344, -0.2, 12.5)] == [
        "34.4\xa0%",
        "\N{MINUS SIGN}20.0\xa0%",
        "1,250.0\xa0%",
    ]
    assert [units.figure(x) for x in (0.0119712, 1.6, 999.96, 1000, 4980.2, -47943)] == [
        *("0.01197", "1.6", "1,000", "1,000", "4,980", "-47,943")
    ]
    assert [units.ratio(x) for x in (0.0216, 1, 23.88, 162.4)] == [
        f"{n}{units.TIMES}" for n in ("0.022", "1.00", "23.88", "162")
    ]
    assert [units.speed(x) for x in (1.5, 1.0, 0.5)] == [
        "1.50\N{MULTIPLICATION SIGN} faster",
        "the same",
        "2.00\N{MULTIPLICATION SIGN} slower",
    ]
    assert [units.rows(1), units.rows(65536), units.ratio(0.714)] == [
        "one row",
        "65,536 rows",
        "0.71" + units.TIMES,
    ]


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2026-11-30T00:12:34Z", "30 November 2026, 00:12 UTC"),
        ("2026-03-01T01:00:00+02:00", "28 February 2026, 23:00 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_are_written_as_people_do(iso, shown):
    assert units.moment(iso) == shown


@pytest.mark.parametrize("low", [1e-9, 7.9e-6, 3e-3, 0.65, 1234.5])
@pytest.mark.parametrize("factor", [1.01, 1.2, 2.5, 9, 75, 1e4, 1e9])
@pytest.mark.parametrize("most", [6, 8])
def test_ticks_are_inside_few_and_never_none(low, factor, most):
    ticks = log_ticks(low, low * factor, most)
    assert 1 <= len(ticks) <= most + 1
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_linear_ticks_have_zero():
    assert 0 in linear_ticks(-0.0213, 0.0213)


def test_a_scale_keeps_to_its_ends():
    scale = svg.log_scale([1e-6, 1e-3], 10, 110, room=1)
    assert [scale(value) for value in (1e-9, 1e-6, 1e-3, 5)] == pytest.approx([10, 10, 110, 110])
    assert svg.log_scale([2e-6], 0, 100)(2e-6) == pytest.approx(50)


def test_an_axis_names_its_last_tick_and_no_two_in_one_place():
    scale = svg.log_scale([1, 65536], 52, 384, room=1)
    axis = svg.axis_below(scale, [1, 8, 4096, 16384, 65536], 100, 0, lambda value: f"{value:,}")
    assert re.findall(r">([\d,]+)<", axis) == ["1", "8", "4,096", "65,536"]


def test_text_is_escaped_once_and_markup_is_not():
    assert escaped('<a b="c">&\x07') == "&lt;a b=&quot;c&quot;&gt;&amp;&lt;U+0007&gt;"
    assert escaped(Markup("<b>")) == "<b>"
    assert tag("p", "<", tag("b", ">"), None, class_='"', hidden=False, open=True) == (
        '<p class="&quot;" open="">&lt;<b>&gt;</b></p>'
    )


def test_ceilings_come_from_the_machine(write, many):
    result = read_result(write(many))
    encode = throughput.limits(result, "encode")
    assert [limit.name for limit in encode] == ["memory copy", "matrix peak, 2 threads", "matrix peak, 1 thread"]
    assert encode[0].rows_per_s == pytest.approx(25e9 / (4 * (640 + 8)))
    assert encode[1].rows_per_s == pytest.approx(349e9 / (2 * 132_096))
    many["bundle"]["files"] = {"int8/encode": many["bundle"]["files"]["encode"]}
    assert throughput.limits(read_result(write(many)), "encode") == encode
    assert throughput.bytes_per_row("reconstruct", 640, 8) == 4 * (640 + 8 + 640)
    assert throughput.bytes_per_row("score", 640, None) == 4 * 641 + 1
    assert [limit.name for limit in throughput.limits(result, "unheard of")] == ["memory copy"]


def luminance(colour):
    """As WCAG defines it."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(scheme):
    style = resources.files("aetool.report.draw").joinpath("style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    for text in ("ink", "soft", "good", "bad"):
        assert contrast(colours[text], colours["page"]) >= 4.5, text
        assert contrast(colours[text], colours["panel"]) >= 4.5, text
    assert contrast(colours["ink"], colours["loud"]) >= 7
    shapes = [f"{group}{i}" for group, count in (("s", 8), ("g", 10), ("q", 4)) for i in range(count)]
    for shape in shapes:
        assert contrast(colours[shape], colours["page"]) >= 3, shape
