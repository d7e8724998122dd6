"""Which requests are computed together, and how long they wait for one another: the batcher on its own."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aetool.serve._batching import Batcher
from aetool.serve._protocol import Refusal
from aetool.serve.limits import ServerLimits
from aetool.serve.warmup import Cost

CHEAP, DEAR = Cost(0.0, 0.0), Cost(1.0, 1.0)
NEVER = 1000.0


class Model:
    """Doubles rows, and keeps what it was given; waits for `gate` where that is closed."""

    def __init__(self):
        self.batches, self.threads = [], []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, rows):
        assert self.gate.wait(20)
        self.batches.append(len(rows))
        self.threads.append(threading.current_thread())
        if np.isnan(rows).any():
            raise RuntimeError("a broken model")
        return {"double": rows * 2}


@contextlib.contextmanager
def batching(cost, **limits):
    with ThreadPoolExecutor(2) as executor:
        model = Model()
        yield model, Batcher(model, cost, ServerLimits(**{"max_queue_s": NEVER, **limits}), executor)


def rows(*numbers):
    return np.array(numbers, np.float32).reshape(-1, 1)


async def of(future):
    outputs, part, waited = await future
    assert waited >= 0
    return outputs["double"][part].ravel().tolist()


def run(test):
    return asyncio.run(asyncio.wait_for(test(), 30))


def test_a_lone_request_is_computed_at_once():
    async def test():
        for cost in (CHEAP, DEAR):
            with batching(cost, max_wait_s=NEVER) as (model, batcher):
                for number in (1, 2, 3):
                    assert await of(batcher.submit(rows(number))) == [2 * number]
                assert model.batches == [1, 1, 1]

    run(test)


def test_a_lone_client_never_waits_whatever_it_asked_before():
    async def test():
        with batching(DEAR, max_wait_s=NEVER) as (model, batcher):
            for given in (rows(1, 2, 3), rows(4), rows(5, 6)):
                await batcher.submit(given)
            assert model.batches == [3, 1, 2]

    run(test)


def test_what_comes_in_one_turn_of_the_loop_is_one_batch_and_everybody_gets_his_own():
    async def test():
        with batching(CHEAP) as (model, batcher):
            given = [rows(1), rows(2, 3), rows(4), rows(5, 6, 7)]
            found = await asyncio.gather(*(of(batcher.submit(one)) for one in given))
            assert found == [[2], [4, 6], [8], [10, 12, 14]] and model.batches == [7]

    run(test)


def test_cheap_batches_stay_in_the_loops_thread_and_others_do_not():
    async def test():
        for cost, inline in ((CHEAP, True), (DEAR, False)):
            with batching(cost) as (model, batcher):
                await batcher.submit(rows(1))
                assert (model.threads[0] is threading.current_thread()) == inline

    run(test)


def test_no_batch_is_larger_than_allowed_but_a_request_that_is():
    async def test():
        for cost in (CHEAP, DEAR):
            with batching(cost, max_batch=4, max_wait_s=0) as (model, batcher):
                sizes = (1, 2, 3, 9, 1, 3)
                given = [rows(*range(i * 10, i * 10 + size)) for i, size in enumerate(sizes)]
                found = await asyncio.gather(*(of(batcher.submit(one)) for one in given))
                assert found == [(2 * one).ravel().tolist() for one in given]
                assert model.batches == [3, 3, 9, 4]

    run(test)


def test_with_batches_of_one_everybody_is_computed_alone():
    async def test():
        with batching(DEAR, max_batch=1) as (model, batcher):
            await asyncio.gather(*(batcher.submit(rows(i)) for i in range(5)))
            assert model.batches == [1] * 5

    run(test)


def test_what_comes_while_a_batch_is_computed_is_the_next_one():
    async def test():
        with batching(DEAR, max_wait_s=NEVER) as (model, batcher):
            model.gate.clear()
            first = batcher.submit(rows(1))
            await asyncio.sleep(0.05)
            others = [batcher.submit(rows(i)) for i in (2, 3)]
            model.gate.set()
            assert [await of(one) for one in (first, *others)] == [[2], [4], [6]]
            assert model.batches == [1, 2]

    run(test)


def test_after_a_full_batch_the_next_waits_for_those_who_are_about_to_ask_again_but_not_for_ever():
    async def test():
        with batching(DEAR, max_wait_s=0.2) as (model, batcher):
            await asyncio.gather(*(batcher.submit(rows(i)) for i in range(3)))
            again = [batcher.submit(rows(1))]
            await asyncio.sleep(0.02)
            assert model.batches == [3]  # two are missing
            again += [batcher.submit(rows(i)) for i in (2, 3)]
            await asyncio.gather(*again)
            assert model.batches == [3, 3]
            await batcher.submit(rows(4))  # nobody else comes
            assert model.batches == [3, 3, 1]

    run(test)


def test_a_full_queue_refuses_and_takes_requests_again_later():
    async def test():
        with batching(DEAR, max_queue_rows=3, max_wait_s=0) as (model, batcher):
            model.gate.clear()
            taken = [batcher.submit(rows(0))]
            await asyncio.sleep(0.05)  # that one does not wait any more
            taken += [batcher.submit(rows(1, 2)), batcher.submit(rows(3))]
            assert batcher.waiting_rows == 3
            with pytest.raises(Refusal) as refusal:
                batcher.submit(rows(4))
            assert refusal.value.status == 503 and refusal.value.retry_after_s == 1
            model.gate.set()
            assert [await of(one) for one in taken] == [[0], [2, 4], [6]]
            assert await of(batcher.submit(rows(5))) == [10] and batcher.waiting_rows == 0

    run(test)


def test_one_large_request_is_taken_by_an_empty_queue():
    async def test():
        with batching(CHEAP, max_queue_rows=3) as (_, batcher):
            assert len(await of(batcher.submit(rows(*range(10))))) == 10

    run(test)


def test_who_waited_too_long_is_told_so_and_not_computed():
    async def test():
        with batching(DEAR, queue_timeout_s=0.1, max_wait_s=0) as (model, batcher):
            model.gate.clear()
            first = batcher.submit(rows(1))
            await asyncio.sleep(0.05)
            late = batcher.submit(rows(2))
            await asyncio.sleep(0.15)
            model.gate.set()
            assert await of(first) == [2]
            with pytest.raises(Refusal, match="waited for"):
                await late
            assert model.batches == [1]

    run(test)


@pytest.mark.parametrize("cost", [CHEAP, DEAR])
def test_a_model_that_fails_tells_everybody_and_goes_on(cost):
    async def test():
        with batching(cost, max_wait_s=0) as (_, batcher):
            both = [batcher.submit(rows(1)), batcher.submit(rows(np.nan))]
            for one in both:
                with pytest.raises(RuntimeError, match="broken"):
                    await one
            assert await of(batcher.submit(rows(3))) == [6]

    run(test)


def test_who_gave_up_is_left_out():
    async def test():
        with batching(CHEAP) as (model, batcher):
            gone, stays = batcher.submit(rows(1)), batcher.submit(rows(2))
            gone.cancel()
            assert await of(stays) == [4] and model.batches == [1]

    run(test)


def test_a_line_is_full_when_computing_it_would_take_too_long():
    async def test():
        with batching(DEAR, max_queue_s=3, max_wait_s=0) as (model, batcher):
            model.gate.clear()
            taken = [batcher.submit(rows(0))]
            await asyncio.sleep(0.1)
            taken += [batcher.submit(rows(1, 2)), batcher.submit(rows(3))]  # a second for each row
            with pytest.raises(Refusal, match="3 s of computing"):
                batcher.submit(rows(4))
            model.gate.set()
            await asyncio.gather(*taken)
            assert await of(batcher.submit(rows(5))) == [10]

    run(test)
