"""Wrong arguments to the extension: an error or the slow way, never a crash."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specified import plan_of

from aetool.core.program import Operation, Output, Second, Step, lay_out

core: Any = pytest.importorskip("aetool.core._native", reason="the core is not compiled here")
KIND = core.variants()[0]
REFUSALS = (ValueError, TypeError, BufferError, OverflowError, MemoryError)


def small() -> Any:
    """A program of rows of (2, 3): -x, and whether the sum of |x| is 6 at most."""
    steps = [Step(Operation.NEGATE, [None], 6), Step(Operation.ABS, [None], 6)]
    steps.append(Step(Operation.SUM, [steps[1]], 1, 6))
    steps.append(Step(Operation.LESS_OR_EQUAL, [steps[2], np.full(1, 6, np.float32)], 1, 1))
    results = {Output("negative", (2, 3), False): steps[0], Output("small", (), True): steps[3]}
    return lay_out(results, steps, (2, 3))


PROGRAM = small()
ROW = np.arange(6, dtype=np.float32).reshape(2, 3)


def arguments(**changed: Any) -> dict[str, Any]:
    given = {
        "variant": KIND,
        "steps": PROGRAM.steps,
        "floats": PROGRAM.floats.data,
        "halves": PROGRAM.halves.data,
        "indexes": PROGRAM.indexes,
        "row": 6,
        "outputs": PROGRAM.sizes,
        "work": PROGRAM.work,
    }
    return given | changed


def caller(output: int = 0, **changed: Any) -> Any:
    """Return a caller and what it gave to the slow way and to that for more rows."""
    shape, decides = PROGRAM.outputs[output].shape, PROGRAM.outputs[output].decides
    kind = np.bool_ if decides else np.float32
    few = tuple(np.zeros((*batch, *shape), kind).copy for batch in ((), (1,), (2,)))
    given: dict[str, Any] = {
        "plan": plan_of(core, KIND, PROGRAM),
        "output": output,
        "row": (2, 3),
        "few": few,
        "decides": decides,
        "scalar": shape == (),
        "array": np.ndarray,
        "slow": lambda data, out: ("slow", data, out),
        "more": lambda data: ("more", data),
    }
    return core.Caller(**given | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"variant": "mmx"},
        {"variant": b"avx2"},
        {"variant": None},
        {"steps": PROGRAM.steps[:-1]},
        {"steps": bytearray(PROGRAM.steps)},
        {"steps": memoryview(PROGRAM.steps)},
        {"steps": PROGRAM.steps.decode("latin-1")},
        {"steps": b"\xff" * 36},
        {"steps": b"\x7f" * 36},
        {"floats": PROGRAM.floats},
        {"floats": memoryview(b"")},
        {"floats": memoryview(b"123")},
        {"floats": memoryview(bytes(4 * PROGRAM.floats.size + 1))[1:]},
        {"floats": np.zeros((8, 8), np.float32)[:, ::2].data},
        {"halves": None},
        {"halves": memoryview(b"1")},
        {"indexes": b"123"},
        {"indexes": PROGRAM.indexes + b"1"},
        {"row": 5},
        {"row": 0},
        {"row": -1},
        {"row": 2**40},
        {"row": "6"},
        {"outputs": ()},
        {"outputs": [6, 1]},
        {"outputs": (6,)},
        {"outputs": (6, 0)},
        {"outputs": (6, -(2**31))},
        {"outputs": (6, 2**80)},
        {"outputs": (6, 2**32 + 1)},
        {"outputs": (6, None)},
        {"outputs": (1, 6)},
        {"outputs": (6,) * 9},
        {"work": 0},
        {"work": -1},
        {"second": -1},
        {"second": 2**31},
        {"work": 2**31},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_plan_of_wrong_arguments_is_refused(changed):
    with pytest.raises(REFUSALS):
        core.Plan(**arguments(**changed))


def test_a_plan_says_which_step_is_wrong():
    negative = bytearray(PROGRAM.steps)
    negative[36 + 20 : 36 + 24] = (-1).to_bytes(4, sys.byteorder, signed=True)
    with pytest.raises(ValueError, match="step 2 of the plan is wrong"):
        core.Plan(**arguments(steps=bytes(negative)))


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


WIDE = np.zeros((2, 2, 6), np.float32)
OUT = (np.zeros((2, 2, 3), np.float32), np.zeros(2, np.float32))


@pytest.mark.parametrize(
    "given",
    [
        (),
        (WIDE[:, :, :3].copy(),),
        (WIDE[:, :, :3].copy(), list(OUT)),
        (WIDE[:, :, :3].copy(), OUT[:1]),
        (WIDE[:, :, :3].copy(), (*OUT, OUT[1])),
        (WIDE[:, :, :3], OUT),
        (None, OUT),
        ([[1.0]], OUT),
        (WIDE[:, :, :3].astype(np.float64), OUT),
        (WIDE[:, :, :3].astype(">f4"), OUT),
        (WIDE[:, :, :3].astype(np.int32), OUT),
        (np.zeros(11, np.float32), OUT),
        (np.zeros((3, 2, 3), np.float32), OUT),
        (np.frombuffer(b"\0" * 49, np.float32, 12, offset=1), OUT),
        (WIDE[:, :, :3].copy(), (OUT[0], np.zeros(3, np.float32))),
        (WIDE[:, :, :3].copy(), (OUT[0], np.zeros(2, np.bool_))),
        (WIDE[:, :, :3].copy(), (OUT[0], np.zeros(1, np.float64))),
        (WIDE[:, :, :3].copy(), (OUT[0], np.zeros(4, np.float32)[::2])),
        (WIDE[:, :, :3].copy(), (OUT[0], read_only(np.zeros(2, np.float32)))),
        (WIDE[:, :, :3].copy(), (OUT[0], b"12345678")),
        (WIDE[:, :, :3].copy(), (OUT[0], np.zeros(2, ">f4"))),
    ],
    ids=lambda given: f"{len(given)}",
)
def test_a_run_of_wrong_arrays_is_refused(given):
    with pytest.raises(REFUSALS):
        plan_of(core, KIND, PROGRAM).run(*given)


def test_a_run_takes_read_only_rows_none_and_no_rows_at_all():
    plan = plan_of(core, KIND, PROGRAM)
    found = np.ones((1, 2, 3), np.float32)
    plan.run(read_only(ROW.copy()), (found, None))
    assert np.array_equal(found[0], -ROW)
    plan.run(np.zeros((0, 2, 3), np.float32), (np.zeros((0, 6), np.float32), None))


@pytest.mark.parametrize(
    "second",
    [
        (),
        (None,),
        (np.zeros((2, 4), np.float32),),
        (np.zeros((1, 5), np.float32),),
        (np.zeros((2, 5)),),
        (np.zeros((2, 5), ">f4"),),
        (np.zeros((2, 10), np.float32)[:, ::2],),
        (np.zeros((2, 5), np.float32), None),
    ],
    ids=lambda second: f"{len(second)}",
)
def test_a_second_input_of_another_size_or_type_is_refused(second):
    step = Step(Operation.ABS, [Second(5)], 5)
    plan = plan_of(core, KIND, lay_out({Output("y", (5,), False): step}, [step], (6,)))
    rows, found = np.zeros((2, 6), np.float32), np.zeros((2, 5), np.float32)
    with pytest.raises(REFUSALS):
        plan.run(rows, (found,), *second)
    plan.run(rows, (found,), np.full((2, 5), -3, np.float32))
    assert np.array_equal(found, np.full((2, 5), 3))


class Mine(np.ndarray[Any, Any]):
    """Somebody's own kind of array."""


@pytest.mark.parametrize(
    "data",
    [
        None,
        [[0.0] * 3] * 2,
        b"0" * 24,
        memoryview(ROW),
        ROW.astype(np.float64),
        ROW.astype(np.float16),
        ROW.astype(">f4"),
        ROW.astype(np.int32),
        ROW.astype(object),
        ROW.T.copy().T,
        ROW[:, ::-1],
        np.zeros((2, 6), np.float32)[:, ::2],
        ROW.ravel(),
        ROW[:1],
        ROW[None, None],
        np.float32(1),
        np.array(1, np.float32),
        np.zeros((0, 2, 3), np.float32),
        np.zeros((1, 3, 2), np.float32),
        np.zeros((1,) * 20, np.float32),
        ROW.view(Mine),
        np.ma.masked_array(ROW),
        np.frombuffer(b"\0" * 25, np.float32, 6, offset=1).reshape(2, 3),
        np.broadcast_to(np.float32(1), (2, 3)),
        np.zeros((2, 3), [("a", np.float32)]),
        np.datetime64("2026-01-01"),
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_array_of_float32_rows_goes_the_slow_way(data):
    assert caller().call(data)[0] == "slow"


def test_an_out_goes_the_slow_way_and_many_rows_to_that_for_more():
    out = np.zeros((2, 3), np.float32)
    assert caller().call(ROW, out)[2] is out
    assert caller().call(np.zeros((3, 2, 3), np.float32))[0] == "more"


@pytest.mark.parametrize("given", [(), (ROW, None, None), (ROW,) * 9])
def test_a_call_of_another_count_of_arguments_is_refused(given):
    with pytest.raises(TypeError, match="expected one or two"):
        caller().call(*given)


def test_few_rows_of_every_memory_the_core_takes_give_their_results():
    for rows in (ROW, ROW[None], np.stack([ROW, ROW]), read_only(ROW.copy())):
        assert np.array_equal(caller().call(rows), -rows)
    assert caller(1).call(ROW) is np.False_ or caller(1).call(ROW) == np.False_
    assert caller(1).call(np.stack([ROW, ROW / 5])).tolist() == [False, True]


@pytest.mark.parametrize(
    "changed",
    [
        {"plan": None},
        {"row": ()},
        {"row": (2, 2)},
        {"row": [2, 3]},
        {"row": (-2, -3)},
        {"row": (0, 6)},
        {"row": (1,) * 7 + (6,)},
        {"row": (2**62, 2**62, 6)},
        {"row": (2**80, 3)},
        {"row": (2, None)},
        {"few": ()},
        {"few": [int]},
        {"few": (int,) * 66},
    ],
    ids=str,
)
def test_a_caller_of_wrong_arguments_is_refused(changed):
    with pytest.raises(REFUSALS):
        caller(**changed)


@pytest.mark.parametrize("output", [-1, 2, 2**31, 2**40, None])
def test_a_caller_of_an_output_that_is_not_there_is_refused(output):
    given = dict.fromkeys(("decides", "scalar"), False) | dict.fromkeys(("array", "slow", "more"), print)
    with pytest.raises(REFUSALS):
        core.Caller(plan=plan_of(core, KIND, PROGRAM), output=output, row=(2, 3), few=(print,), **given)


def failing() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (lambda: None, TypeError),
        (lambda: np.zeros((2, 2), np.float32), ValueError),
        (lambda: np.zeros((3, 3), np.float32), ValueError),
        (lambda: np.zeros((3, 4), np.float32)[:, ::2], (ValueError, BufferError)),
        (lambda: read_only(np.zeros((2, 3), np.float32)), (ValueError, BufferError)),
        (lambda: b"0" * 24, BufferError),
        (failing, ZeroDivisionError),
        (3, TypeError),
    ],
)
def test_results_that_do_not_fit_are_refused(result, error):
    with pytest.raises(error):
        caller(few=(result,)).call(ROW)


def test_what_the_slow_way_raises_comes_through():
    with pytest.raises(ZeroDivisionError):
        caller(slow=lambda data, out: failing()).call(None)
    with pytest.raises(ZeroDivisionError):
        caller(more=lambda data: failing()).call(np.zeros((9, 2, 3), np.float32))


def test_callers_and_plans_are_freed():
    """A hundred thousand of each, refused ones among them, take no more memory than a few."""
    code = """
import resource
from test_python_face import REFUSALS, ROW, arguments, caller, core
def rounds(count):
    for _ in range(count):
        caller().call(ROW)
        try:
            core.Plan(**arguments(work=0))
        except REFUSALS:
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = rounds(2000)
print(rounds(20000) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2000  # KiB: one object of 100 bytes that stays in each round would take as much


def pushing(**changed: Any) -> Any:
    """What a caller's push gives for a window of two samples of three, with arguments changed."""
    negative = small_caller()
    given = {
        "window": np.zeros((2, 3), np.float32),
        "sample": np.ones(3, np.float32),
        "filled": 0,
        "stride": 1,
    } | changed
    return negative.push(*given.values())


def small_caller() -> Any:
    few = tuple(np.zeros(shape, np.float32).copy for shape in ((2, 3), (1, 2, 3)))
    plan = plan_of(core, KIND, PROGRAM)
    return core.Caller(
        plan=plan,
        output=0,
        row=(2, 3),
        few=few,
        decides=False,
        scalar=False,
        array=np.ndarray,
        slow=print,
        more=print,
    )


def test_push_fills_a_window_steps_on_and_computes_a_full_one():
    caller, window = small_caller(), np.zeros((2, 3), np.float32)
    samples = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert caller.push(window, samples[0], 0, 1) == 1
    assert (caller.push(window, samples[1], 1, 1) == -samples[:2]).all()
    assert (caller.push(window, samples[2], 2, 1) == -samples[1:3]).all()
    assert caller.push(window, samples[3], 2, 2) is None and (window == samples[1:3]).all()


@pytest.mark.parametrize(
    "sample",
    [[1.0, None, 3.0], ["1", 2.0, 3.0], (1.0, True, 3.0), [1.0, 2.0], [0.0] * 6, [0.0] * 300, [], [1e39, 0.0, 0.0],
     [2**60, 0, 0], [10**400, 0, 0], np.zeros(3), np.zeros(2, np.float32), np.zeros((1, 3), np.float32),
     np.zeros(0, np.float32),
     np.zeros(6, np.float32), np.zeros(6, np.float32)[::2], np.float32(1), None],
)  # fmt: skip
def test_push_leaves_other_samples_to_somebody_else(sample):
    assert pushing(sample=sample) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"window": np.zeros((3, 3), np.float32)},
        {"window": np.zeros((2, 3))},
        {"window": np.zeros((2, 3), np.float32)[:, ::-1]},
        {"window": b"\0" * 24},
        {"window": None},
        {"filled": -1},
        {"filled": 3},
        {"filled": 1 << 80},
        {"filled": "1"},
        {"stride": 0},
        {"stride": -1},
        {"more": 1},
    ],
)
def test_push_refuses_another_window(changed):
    with pytest.raises(REFUSALS):
        pushing(**changed)
