"""`out=`: results written into the caller's own memory."""

import re

import numpy as np
import pytest

from aetool import InputError

METHODS = ("encode", "reconstruct", "score", "detect")


@pytest.mark.parametrize("length", [1, 2, 7, 200, 5000])
@pytest.mark.parametrize("method", METHODS)
def test_out_holds_and_is_the_result(model, many, method, length):
    run = getattr(model, method)
    expected = run(many[:length])
    out = np.empty_like(expected)
    assert run(many[:length], out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("method", METHODS)
def test_out_for_a_single_row_has_no_batch_axis(model, many, method):
    run = getattr(model, method)
    expected = np.asarray(run(many[0]))
    out = np.empty_like(expected)
    assert run(many[0], out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_for_embeddings_and_for_no_rows(model, rows):
    codes = model.encode(rows)
    out = np.empty_like(rows)
    assert model.decode(codes, out=out) is out
    np.testing.assert_array_equal(out, model.decode(codes))
    nothing = np.empty((0, 30), np.float32)
    assert model.reconstruct(rows[:0], out=nothing) is nothing


def test_out_takes_part_of_a_larger_array(model, many):
    whole = np.zeros((5500, 30), np.float32)
    model.reconstruct(many, out=whole[100:5100])
    np.testing.assert_array_equal(whole[100:5100], model.reconstruct(many))
    assert not whole[:100].any()
    assert not whole[5100:].any()


def read_only():
    array = np.zeros((7, 30), np.float32)
    array.flags.writeable = False
    return array


def misaligned():
    return np.zeros(7 * 30 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(7, 30)


WRONG = {
    "too few rows": lambda: np.zeros((6, 30), np.float32),
    "too wide": lambda: np.zeros((7, 31), np.float32),
    "flat": lambda: np.zeros(210, np.float32),
    "float64": lambda: np.zeros((7, 30)),
    "big-endian": lambda: np.zeros((7, 30), ">f4"),
    "Fortran order": lambda: np.zeros((7, 30), np.float32, order="F"),
    "strided": lambda: np.zeros((14, 30), np.float32)[::2],
    "read-only": read_only,
    "misaligned": misaligned,
    "masked": lambda: np.ma.zeros((7, 30), np.float32),
    "a list": lambda: [[0.0] * 30] * 7,
}


@pytest.mark.parametrize("out", WRONG.values(), ids=WRONG)
def test_what_cannot_hold_the_result_is_an_input_error(model, many, out):
    with pytest.raises(InputError, match=r"^out: expected .*found .*; give"):
        model.reconstruct(many[:7], out=out())


@pytest.mark.parametrize("length", [7, 200, 5000])
def test_out_in_the_memory_of_the_rows_is_refused_and_nothing_is_written(model, many, length):
    mine = many[:length].copy()
    with pytest.raises(InputError, match=re.escape("out: lies in the memory of the rows")):
        model.reconstruct(mine, out=mine)
    np.testing.assert_array_equal(mine, many[:length])
