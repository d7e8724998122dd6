"""Numbers for people, ticks, scales, and where the ceilings are."""

import pytest

from aetool.report import read_result, svg, throughput, units
from aetool.report.markup import Markup, escaped, tag
from aetool.report.ticks import linear_ticks, log_ticks


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
    assert [units.percent(0.021), units.percent(-0.0305, signed=True)] == ["2.1 %", "\N{MINUS SIGN}3.0 %"]
    assert [units.percent(0, signed=True), units.percent(1)] == ["0.0 %", "100 %"]
    assert [units.rows(1), units.rows(65536), units.ratio(0.714)] == [
        "one row",
        "65,536 rows",
        "0.71" + units.TIMES,
    ]


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


def test_names_move_apart():
    assert svg.apart([10, 12, 40], 14) == [10, 24, 40]
    assert svg.apart([12, 10], 14) == [24, 10]


def test_text_is_escaped_once_and_markup_is_not():
    assert escaped('<a b="c">&\x07') == "&lt;a b=&quot;c&quot;&gt;&amp;\ufffd"
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
    many["bundle"]["files"] = {"int8/encode": many["bundle"]["files"]["encoder"]}  # by the job, of a precision
    assert throughput.limits(read_result(write(many)), "encode") == encode
    assert throughput.bytes_per_row("reconstruct", 640, 8) == 4 * (640 + 8 + 640)
    assert throughput.bytes_per_row("score", 640, None) == 4 * 641 + 1
    assert [limit.name for limit in throughput.limits(result, "unheard of")] == ["memory copy"]
