"""Whatever holds the same numbers gives the same result; whatever does not is refused in one line."""

import array
import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aetool import AetoolError, InputError
from aetool.runtime._inputs import to_rows

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

METHODS = ("encode", "reconstruct", "score", "detect")
SHAPES = {"encode": (120,), "decode": (30,), "reconstruct": (30,), "score": (), "detect": ()}


class Subclass(np.ndarray):
    """Something like a unit-carrying array."""


class OnlyArray:
    """What torch tensors and the like are to numpy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def unaligned(values):
    raw = np.zeros(values.nbytes + 1, np.uint8)
    odd = raw[1:].view(values.dtype).reshape(values.shape)
    odd[...] = values
    assert not odd.flags.aligned
    return odd


def negative_strides(values):
    backwards = np.ascontiguousarray(values[::-1, ::-1])
    return backwards[::-1, ::-1]


def frozen(values):
    copy = values.copy()
    copy.flags.writeable = False
    return copy


SAME_NUMBERS = {
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian float32": lambda x: x.astype(">f4"),
    "big-endian float64": lambda x: x.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "strided rows": lambda x: np.repeat(x, 2, axis=0)[::2],
    "strided columns": lambda x: np.repeat(x, 3, axis=1)[:, ::3],
    "negative strides": negative_strides,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "read-only": frozen,
    "unaligned": unaligned,
    "subclass": lambda x: x.view(Subclass),
    "matrix": np.asmatrix,
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple(map(tuple, x.tolist())),
    "list of arrays": list,
    "objects": lambda x: x.astype(object),
    "Decimals": lambda x: [[Decimal(float(v)) for v in row] for row in x],
    "Fractions": lambda x: [[Fraction(float(v)) for v in row] for row in x],
    "masked, nothing masked": np.ma.array,
    "buffer": lambda x: memoryview(x.copy()),
    "__array__": OnlyArray,
}


@pytest.mark.parametrize("make", SAME_NUMBERS.values(), ids=SAME_NUMBERS)
@pytest.mark.parametrize("method", METHODS)
def test_the_same_numbers_in_another_form_give_the_same_result(model, rows, make, method):
    expected = getattr(model, method)(rows)
    found = getattr(model, method)(make(rows))
    assert type(found) is np.ndarray
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("make", SAME_NUMBERS.values(), ids=SAME_NUMBERS)
def test_onnxruntime_is_given_plain_float32_in_c_order(rows, make):
    found = to_rows(make(rows), (), (30,))
    assert type(found) is np.ndarray
    assert found.dtype == np.dtype("=f4")
    assert found.flags.c_contiguous
    assert found.flags.aligned


def test_plain_rows_are_not_copied(rows):
    assert to_rows(rows, (), (30,)) is rows


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i4", ">i4", "i8", "u8", "f2", ">f2", "?"])
def test_small_numbers_of_any_dtype_equal_the_same_numbers_as_float32(model, dtype):
    values = np.random.default_rng(1).integers(0, 2 if dtype == "?" else 100, (9, 30)).astype(dtype)
    np.testing.assert_array_equal(model.score(values), model.score(values.astype(np.float32)))


@given(values=hnp.arrays(np.float32, (3, 30), elements=st.floats(width=32)))
def test_any_float32_bits_give_a_result_and_only_finite_scores_are_normal(model, values):
    scores, flagged = model.score(values), model.detect(values)
    np.testing.assert_array_equal(flagged, ~(scores <= np.float32(model.threshold)))
    spoilt = ~np.isfinite(values).all(axis=1)
    assert flagged[spoilt].all()
    assert not np.isfinite(scores[spoilt]).any()


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary() | st.complex_numbers(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_python_object_gives_anything_but_a_result_or_one_line(model, data):
    for method in ("score", "decode"):
        try:
            found = getattr(model, method)(data)
        except AetoolError as error:
            assert isinstance(error, InputError)
            assert str(error).isprintable()
        else:
            assert found.dtype == np.float32


class Hostile:
    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


X = np.ones((2, 30), np.float32)
REFUSED = {
    "None": (None, "None"),
    "too narrow": (X[:, :29], "(2, 29)"),
    "too wide": (np.ones((2, 31)), "(2, 31)"),
    "a row too narrow": (X[0, :29], "(29,)"),
    "rank 3": (X[None], "(1, 2, 30)"),
    "rank 0": (np.float32(1), "()"),
    "no rows of the wrong width": (np.ones((0, 29)), "(0, 29)"),
    "rows of no width": (np.ones((2, 0)), "(2, 0)"),
    "text": ("exported/breast-cancer", "'exported/breast-cancer'"),
    "text array": (X.astype(str), "'1.0'"),
    "bytes array": (X.astype("S"), "|S"),
    "one text among numbers": ([[1.0] * 29 + ["high"]], "'high'"),
    "complex": (X.astype(complex), "complex128"),
    "datetime": (X.astype("M8[s]"), "datetime64[s]"),
    "timedelta": (X.astype("m8[s]"), "timedelta64[s]"),
    "ragged": ([[1.0] * 30, [1.0] * 29], "list"),
    "a dict inside": ([[1.0] * 29 + [{}]], "dict"),
    "object holding text": (np.array([["a"] * 30], object), "str 'a'"),
    "object holding complex": (np.array([[1j] * 30], object), "complex"),
    "object holding dates": ([[datetime.date(2020, 1, 1)] * 30], "date"),
    "object holding arrays": (np.array([X[0], X[0, :3]], object), "ndarray"),
    "ragged objects of several lines": (np.array([X, X[:1]], object), "ndarray"),
    "masked text": (np.ma.array([["a"] * 30]), "'a'"),
    "set": ({1.0}, "set"),
    "generator": ((row for row in X), "generator"),
    "list of other dicts": ([{"a": 1.0}], "columns missing: 'mean radius'"),
    "refuses without a word": (Hostile(RuntimeError()), "RuntimeError"),
    "refuses in two lines": (Hostile(KeyError("a\nb")), "Hostile"),
    "refuses with any class": (Hostile(Exception("use .cpu()")), "use .cpu()"),
}


@pytest.mark.parametrize(("data", "named"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_naming_it(model, data, named):
    for method in METHODS:
        with pytest.raises(InputError) as caught:
            getattr(model, method)(data)
        message = str(caught.value)
        assert named in message
        assert "features" in message
        assert message.isprintable()


@pytest.mark.parametrize("data", [np.ones((2, 30)), np.ones(30), {"mean radius": [1.0]}])
def test_decode_refuses_features_naming_its_own_width(model, data):
    with pytest.raises(InputError, match="embedding: expected"):
        model.decode(data)


def test_a_wrong_shape_names_the_expected_one(model):
    with pytest.raises(InputError, match=r"expected shape \(rows, 30\), found \(2, 29\)"):
        model.score(X[:, :29])
    with pytest.raises(InputError, match=r"expected shape \(rows, 120\), found \(2, 29\)"):
        model.decode(X[:, :29])


def test_input_errors_are_value_errors_too(model):
    with pytest.raises(ValueError, match="features"):
        model.score(None)


@pytest.mark.parametrize("method", SHAPES)
def test_no_rows_give_empty_results_of_the_right_shape_and_dtype(model, method):
    width = 120 if method == "decode" else 30
    one = getattr(model, method)(np.ones((1, width)))
    for nothing in ([], np.empty((0, width)), np.empty((0, width), object), np.empty((0, width), ">i4")):
        found = getattr(model, method)(nothing)
        assert found.shape == (0, *SHAPES[method])
        assert found.dtype == one.dtype


@pytest.mark.parametrize("method", METHODS)
def test_a_single_row_gives_results_without_the_batch_axis(model, rows, method):
    found = getattr(model, method)(rows[5])
    assert found.shape == SHAPES[method]
    np.testing.assert_array_equal(found, getattr(model, method)(rows[5:6])[0])
    np.testing.assert_array_equal(found, getattr(model, method)(array.array("f", rows[5])))


def test_decode_takes_a_single_embedding(model, rows):
    assert model.decode(model.encode(rows[0])).shape == (30,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 3, 6, 511, 512, 1999])
def test_a_row_that_is_no_number_is_flagged_and_its_neighbours_do_not_notice(model, many, bad, where):
    clean, spoilt = model.score(many), many.copy()
    spoilt[where, 7] = bad
    found = model.score(spoilt)
    assert not np.isfinite(found[where])
    assert model.detect(spoilt)[where]
    others = np.arange(len(many)) != where
    np.testing.assert_allclose(found[others], clean[others], rtol=1e-6)
    np.testing.assert_allclose(model.encode(spoilt)[others], model.encode(many)[others], rtol=1e-6, atol=1e-6)


BEYOND = {
    "float64": np.full((1, 30), 1e300),
    "negative float64": np.full((1, 30), -1e300),
    "largest float32": np.full((1, 30), np.finfo(np.float32).max),
    "integer beyond float64": [[10**400] * 30],
    "negative integer beyond float64": [[-(10**400)] * 30],
    "Decimal": [[Decimal("1e999")] * 30],
    "signalling NaN": [[Decimal("sNaN")] * 30],
    "Fraction": [[Fraction(10**400)] * 30],
}


@pytest.mark.parametrize("data", BEYOND.values(), ids=BEYOND)
@pytest.mark.filterwarnings("error")
def test_values_beyond_float32_are_anomalies_without_a_warning(model, data):
    assert not np.isfinite(model.score(data)).any()
    assert model.detect(data).all()


def test_a_caller_who_lets_numpy_raise_gets_results_all_the_same(model, rows):
    with np.errstate(all="raise"):
        assert np.isfinite(model.score(rows.astype(np.float64) * 1e-60)).all()
        assert model.detect(np.full((1, 30), 1e60)).all()


def test_masked_values_are_missing_values(model, rows):
    mask = np.zeros(rows.shape, bool)
    mask[4, 2] = True
    spoilt = rows.copy()
    spoilt[4, 2] = np.nan
    for values in (rows, rows.astype(">f8"), rows.astype(object)):
        np.testing.assert_array_equal(model.score(np.ma.array(values, mask=mask)), model.score(spoilt))
    text_below = np.ma.array(rows.astype(object), mask=mask)
    text_below.data[4, 2] = "n/a"
    np.testing.assert_array_equal(model.score(text_below), model.score(spoilt))


@pytest.mark.parametrize("make", SAME_NUMBERS.values(), ids=SAME_NUMBERS)
def test_the_input_is_never_modified(model, rows, make):
    given_ = make(rows.copy())
    if not hasattr(given_, "__len__"):
        given_ = given_.values
    before = repr(np.array(given_).tolist())
    model.score(given_)
    model.encode(given_)
    assert repr(np.array(given_).tolist()) == before


@pytest.mark.parametrize("graph", ["classifier", "score", "encode", "", None, ["encoder"], 3])
def test_an_unknown_graph_is_an_input_error_listing_the_graphs(model, rows, graph):
    model.score(rows), model.encode(rows)
    with pytest.raises(InputError, match="encoder, decoder, autoencoder, detector"):
        model.run(graph, rows)
