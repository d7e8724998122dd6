"""Dense layers in integers: the C gives the bits of numpy's, on whatever numbers."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aetool import core
from aetool.core import integers
from aetool.core.integers import Multiplier, Requantisation

ROOT = next(iter(core.__path__))


@pytest.fixture(scope="module", params=["gcc", "clang"])
def library(request, tmp_path_factory):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    path = tmp_path_factory.mktemp("integers") / "integers.so"
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-fPIC", "-shared"]
    subprocess.run([request.param, *strict, "-o", path, f"{ROOT}/integers.c"], check=True)
    return ctypes.CDLL(str(path))


def pointer(values):
    return None if values is None else values.ctypes.data_as(ctypes.c_void_p)


class How(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int32) for name in ("shift", "zero", "bends", "slope", "slope_shift", "table")
    )


def in_c(library, values, weights, bias, how):
    (outputs, inputs), out = weights.shape, np.zeros((len(values), len(weights)), np.int8)
    slope = how.slope or Multiplier(np.zeros((), np.int32), 1)
    bends, table = how.slope is not None, -1 if how.table is None else 0
    given = How(how.multiplier.shift, how.zero, bends, int(slope.value), slope.shift, table)
    for row, to in zip(values, out, strict=True):
        arrays = map(pointer, (to, row, weights, bias, how.multiplier.value))
        sizes = ctypes.c_size_t(inputs), ctypes.c_size_t(outputs)
        library.aetool_dense_int8(*arrays, ctypes.byref(given), pointer(how.table), *sizes)
    return out


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 13)),
    seed=st.integers(0, 999),
    exponent=st.floats(-40, 4),
    bend=st.sampled_from(["none", "relu", "leaky", "table"]),
)
@example(sizes=(1, 1), seed=0, exponent=-70.0, bend="leaky")
def test_a_layer_in_c_is_that_of_numpy(library, sizes, seed, exponent, bend):
    random, (inputs, outputs) = np.random.default_rng(seed), sizes
    values = random.integers(-128, 128, (5, inputs)).astype(np.int8)
    weights = random.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    bias = (random.integers(-(2**30), 2**30, outputs) >> random.integers(0, 30)).astype(np.int32)
    slope = {"relu": 0.0, "leaky": 0.01}.get(bend)
    how = Requantisation(
        Multiplier.of(2.0**exponent * random.uniform(0.001, 1, outputs)),
        int(random.integers(-128, 128)),
        None if slope is None else Multiplier.of(np.asarray(slope)),
        random.integers(-128, 128, 256).astype(np.int8) if bend == "table" else None,
    )
    expected = how.apply(integers.summed(values, weights, bias))
    assert in_c(library, values, weights, bias, how).tolist() == expected.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=20),
    centre=st.floats(-1e6, 1e6, width=32),
    gain=st.floats(2.0**-10, 1024, width=32),
)
@example(values=[0.5, 1.5, 2.5, -0.5, -126.5, 126.5, np.nan, np.inf, -np.inf, -0.0], centre=0.0, gain=1.0)
def test_a_row_becomes_integers_as_in_numpy(library, values, centre, gain):
    row = np.array(values, np.float32)
    centres, gains = (np.full(len(row), number, np.float32) for number in (centre, gain))
    out = np.zeros(len(row), np.int8)
    library.aetool_quantize(*map(pointer, (out, row, centres, gains)), ctypes.c_size_t(len(row)))
    assert out.tolist() == integers.quantized(row, centres, gains).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_last_layer_and_the_way_back_are_float32_as_in_numpy(library, seed):
    random = np.random.default_rng(seed)
    values, weights = random.integers(-128, 128, (1, 37)).astype(np.int8), random.integers(-127, 128, (6, 37))
    weights, bias = weights.astype(np.int8), random.integers(-(2**28), 2**28, 6).astype(np.int32)
    scale, begins = random.lognormal(size=6).astype(np.float32), random.normal(size=6).astype(np.float32)
    out = np.zeros(6, np.float32)
    arrays = map(pointer, (out, values, weights, bias, scale, begins))
    library.aetool_dense_int8_last(*arrays, ctypes.c_size_t(37), ctypes.c_size_t(6))
    sums = integers.summed(values, weights, bias)
    assert out.tobytes() == integers.in_float(sums, scale, begins)[0].tobytes()
    back = np.zeros(37, np.float32)
    library.aetool_dequantize(
        pointer(back), pointer(values), 7, ctypes.c_float(float(scale[0])), ctypes.c_size_t(37)
    )
    assert back.tobytes() == integers.dequantized(values, 7, float(scale[0]))[0].tobytes()


@pytest.mark.parametrize("size", [1e-12, 1e-6, 0.01, 0.5, 0.999999999999, 1.0, 7.3])
def test_a_multiplier_is_its_factor_to_nine_digits(size):
    found = Multiplier.of(np.array([size, size / 3]))
    assert found.value[0] * 2.0**-found.shift == pytest.approx(size, rel=1e-9 if size > 1e-9 else 1e-3)
    assert found.value[1] * 2.0**-found.shift == pytest.approx(size / 3, rel=2e-9 if size > 1e-9 else 1e-2)
    assert Multiplier.of(np.zeros(2)).apply(np.array([2**30, -(2**30)])).tolist() == [0, 0]
