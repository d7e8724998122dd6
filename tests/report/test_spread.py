"""Names on a full picture: where they are put."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetool.report.draw.svg import Box, spread

PLACES = st.tuples(st.floats(0, 400), st.floats(0, 384))


def meet(one, other):
    across, down = abs(one.x - other.x), abs(one.y - other.y)
    return across < (one.width + other.width) / 2 and down < (one.height + other.height) / 2


@given(st.lists(PLACES, min_size=1, max_size=40))
@settings(deadline=None)
def test_no_box_covers_another_and_all_are_inside(places):
    found = spread([Box(x, y, 24, 18) for x, y in places], 400, 384)
    assert not any(meet(one, other) for one, other in itertools.combinations(found, 2))
    assert all(12 <= box.x <= 388 and 9 <= box.y <= 375 for box in found)


def test_a_box_with_nothing_in_its_way_stays_and_the_next_goes_beside_it():
    first, second = spread([Box(200, 200, 24, 18), Box(202, 201, 24, 18)], 400, 384)
    assert first == (200, 200, 24, 18)
    assert abs(second.x - 202) + abs(second.y - 201) < 40


@pytest.mark.parametrize("size", [300, 500])
def test_where_there_is_no_room_a_box_stays(size):
    boxes = [Box(100, 100, size, size)] * 2
    assert spread(boxes, 400, 384)[-1] == boxes[-1]
