"""Batches of requests: all that came in during one turn of the event loop, or while the last batch was computed.

A batch that is cheap is computed at once, by the event loop's own thread, with all requests that came in the same
turn of the loop. Any other goes to another thread; what comes meanwhile is the next batch. No request waits for
others, but for one case: a batch has just been answered, so that those clients are about to ask again, and so many
are not there yet. Then the next one waits for them, `max_wait_s` at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.serve._protocol import Refusal
from aetool.serve.limits import ServerLimits
from aetool.serve.warmup import Cost

Rows = NDArray[np.float32]
Outputs = Mapping[str, NDArray[Any]]


Share = tuple[Outputs, slice, float]
"""Outputs of a batch, the rows that belong to one request, and the seconds it waited."""
_Job = tuple[Rows, "asyncio.Future[Share]", float]
"""Rows, the future of their outputs, and when they came."""


class Line:
    """Rows that wait for any of a bundle's computations."""

    def __init__(self, limits: ServerLimits) -> None:
        """Begin empty."""
        self._limits = limits
        self.rows = 0
        self.seconds = 0.0
        """Seconds to compute them, as measured when the bundle was opened."""
        self._typical = 1.0
        self._coming = 0.0

    @property
    def is_full(self) -> bool:
        """True while `max_queue_rows` or `max_queue_s` wait.

        The number of rows of the next request does not matter: so it can be refused before it is parsed.
        """
        return self.rows >= self._limits.max_queue_rows or self.seconds >= self._limits.max_queue_s

    def expects(self) -> bool:
        """Count a request that will join the line in this turn of the event loop; False where it is full."""
        if self.is_full or self.rows + self._coming >= self._limits.max_queue_rows:
            return False
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._joined)
        self._coming += self._typical
        return True

    def _joined(self) -> None:
        self._coming = 0.0

    def add(self, rows: int, seconds: float) -> None:
        """Count rows that begin to wait, or with negative numbers, that no longer do."""
        self.rows += rows
        if rows > 0:
            self._typical += (rows - self._typical) / 16
        self.seconds = self.seconds + seconds if self.rows else 0.0  # no rounding is left over

    def require_room(self) -> None:
        """Raise a Refusal where the line is full."""
        if self.is_full:
            raise full_line(self._limits)


class Batcher:
    """One computation and the requests that wait for it; belongs to one event loop.

    Args:
        run: (rows, ...) -> name -> (rows, ...); a row's outputs must not depend on its neighbours.
        cost: measured latency of `run`.
        limits: limits of the server.
        executor: computes batches that are not cheap.
        observe: called with the rows of each batch and its seconds.
        line: shared with the other computations of the bundle; by default its own.
    """

    def __init__(
        self,
        run: Callable[[Rows], Outputs],
        cost: Cost,
        limits: ServerLimits,
        executor: Executor,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
        line: Line | None = None,
    ) -> None:
        """Begin without requests."""
        self._line = Line(limits) if line is None else line
        self._row_s = (cost.first_s + (limits.max_batch - 1) * cost.more_s) / limits.max_batch  # in full batches
        self._run, self._cost, self._limits, self._executor, self._observe = run, cost, limits, executor, observe
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Job] = deque()
        self.waiting_rows = 0
        self._computing = self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._expected, self._until = 0, 0.0  # rows that may be about to come, and how long to wait for them

    def submit(self, rows: Rows) -> "asyncio.Future[Share]":
        """Queue `rows` for the next batch.

        Raises:
            Refusal: too many rows wait already.
        """
        self._line.require_room()
        count = len(rows)
        future: asyncio.Future[Share] = self._loop.create_future()
        self._waiting.append((rows, future, self._loop.time()))
        self.waiting_rows += count
        self._line.add(count, count * self._row_s)
        if not (self._due or self._computing):
            self._schedule()
        return future

    def _schedule(self) -> None:
        """Schedule the next batch for the end of this turn of the loop, or for when expected ones may be there."""
        wait = self._until - self._loop.time()
        if wait > 0 and self.waiting_rows < self._expected:
            self._timer = self._timer or self._loop.call_later(wait, self._next)
        else:
            self._due = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._computing or not (batch := self._take()):
            return
        rows = batch[0][0] if len(batch) == 1 else np.concatenate([job[0] for job in batch])
        if self._cost.inline(len(rows)):
            begin = self._loop.time()
            try:
                self._answer(batch, self._compute(rows), begin)
            except Exception as error:  # noqa: BLE001 - whatever it is, each of them is told
                _fail(batch, error)
            if self._waiting:
                self._schedule()
        else:
            self._computing = True
            computed = self._loop.run_in_executor(self._executor, self._compute, rows)
            computed.add_done_callback(partial(self._done, batch, self._loop.time()))

    def _take(self) -> list[_Job]:
        """Take the next requests in line, up to a batch; a larger one comes alone."""
        batch: list[_Job] = []
        total, oldest = 0, self._loop.time() - self._limits.queue_timeout_s
        if self._waiting and self.waiting_rows <= self._limits.max_batch and self._waiting[0][2] >= oldest:
            batch = [job for job in self._waiting if not job[1].done()]  # the rule: all of them
            self._waiting.clear()
            self._line.add(-self.waiting_rows, -self.waiting_rows * self._row_s)
            self.waiting_rows = 0
        while self._waiting:
            job = rows, future, since = self._waiting[0]
            if batch and total + len(rows) > self._limits.max_batch:
                break
            self._waiting.popleft()
            self.waiting_rows -= len(rows)
            self._line.add(-len(rows), -len(rows) * self._row_s)
            if since < oldest:
                _fail([job], busy(f"waited for {self._limits.queue_timeout_s:g} s behind other requests"))
            elif not future.done():  # cancelled, when the server stops
                batch.append(job)
                total += len(rows)
        return batch

    def _compute(self, rows: Rows) -> Outputs:
        begin = time.perf_counter()
        outputs = self._run(rows)
        self._observe(len(rows), time.perf_counter() - begin)
        return outputs

    def _done(self, batch: Sequence[_Job], begin: float, computed: "asyncio.Future[Outputs]") -> None:
        self._computing = False
        if (error := computed.exception()) is not None:
            _fail(batch, error)
        else:
            rows = self._answer(batch, computed.result(), begin)
            self._expected = min(rows, self._limits.max_batch) if len(batch) > 1 else 0
            self._until = self._loop.time() + self._limits.max_wait_s
        if self._waiting:
            self._schedule()

    @staticmethod
    def _answer(batch: Sequence[_Job], outputs: Outputs, begin: float) -> int:
        """Give each request its own rows, and return how many there were."""
        start = 0
        for rows, future, since in batch:
            stop = start + len(rows)
            if not future.done():
                future.set_result((outputs, slice(start, stop), begin - since))
            start = stop
        return start


def _fail(batch: Sequence[_Job], error: BaseException) -> None:
    for _, future, _ in batch:
        if not future.done():
            future.set_exception(error)


def full_line(limits: ServerLimits) -> Refusal:
    """Return the refusal while the line is full."""
    return busy(
        f"{limits.max_queue_rows} rows (--max-queue) or {limits.max_queue_s:g} s of computing "
        "(--max-queue-seconds) are waiting"
    )


def busy(why: str) -> Refusal:
    """Return the refusal of a server with too much to do; the client may retry in a second."""
    return Refusal(503, f"too busy: {why}; try again later", retry_after_s=1)
