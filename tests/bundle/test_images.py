"""Which rows are pictures, and in which shape."""

import pytest

from aetool.bundle.images import image_shape
from aetool.errors import InputError

GRID = [(row, column) for row in range(5) for column in range(7)]


@pytest.mark.parametrize(
    "names",
    [
        [f"pixel_{row}_{column}" for row, column in GRID],
        [f"{row + 1}x{column + 1}" for row, column in GRID],
        [f"px[{row},{column}]" for row, column in GRID],
        [f"Image r{row}c{column}" for row, column in GRID],
    ],
)
def test_names_of_pixels_tell_the_picture(names):
    assert image_shape(None, (35,), names) == (5, 7)


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_pixels_of_a_square_are_one(first):
    assert image_shape(None, (64,), [f"pixel{first + i}" for i in range(64)]) == (8, 8)
    assert image_shape(None, (65,), [f"pixel{first + i}" for i in range(65)]) is None


@pytest.mark.parametrize(
    "names",
    [
        [f"sensor_{row}_{column}" for row, column in GRID],
        [f"pixel_{column}_{row}" for row, column in GRID],
        [*(f"pixel_{row}_{column}" for row, column in GRID[:-1]), "pixel_9_9"],
        [*(f"pixel_{row}_{column}" for row, column in GRID[:-1]), "age"],
        ["pixel_99999_99999", *(f"pixel_{row}_{column}" for row, column in GRID[1:])],
        [f"pixel_0_{column}" for column in range(35)],
        [f"V{i}" for i in range(36)],
        [f"pixel{i}" for i in [1, 0, *range(2, 64)]],
        [f"mean radius {i}" for i in range(35)],
    ],
)
def test_other_names_are_columns_of_a_table(names):
    assert image_shape(None, (len(names),), names) is None


def test_rows_without_names_are_pictures_by_their_shape():
    assert image_shape(None, (1, 28, 28), ()) == (1, 28, 28)
    assert image_shape(None, (28, 28), ()) == (28, 28)
    assert image_shape(None, (64, 12), ()) is None
    assert image_shape(None, (784,), ()) is None


def test_a_shape_that_is_given_must_hold_the_row():
    assert image_shape((28, 28), (784,), [f"V{i}" for i in range(784)]) == (28, 28)
    assert image_shape((3, 8, 8), (192,), ()) == (3, 8, 8)
    with pytest.raises(InputError, match=r"28x28 is 784 numbers, but a row has 64"):
        image_shape((28, 28), (64,), ())
    with pytest.raises(InputError, match="64 is not a picture"):
        image_shape((64,), (64,), ())
