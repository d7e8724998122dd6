"""Several processes that serve at one address: a parent that starts them again, and what they tell each other.

The parent opens no bundle and has one thread. It owns the socket, and forks workers that accept at it. They share
memory: a row of numbers for each worker, and a file in memory with its latest counts, which outlive it. So any
worker answers /metrics for all, and one that dies takes no counter back.
"""

import contextlib
import logging
import mmap
import os
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aetool import errors
from aetool.serve.logs import log

STARTING, SERVING, STOPPING, GONE = range(4)
_STATE, _BEAT, _CONNECTIONS, _REQUESTS, _PAGE, _ANSWERED, _FIELDS = range(7)
_TICK_S = 0.1
_STUCK_TICKS = 300
"""Turns of the parent, 30 s, in which a worker that serves has to do something."""
_BACK_OFF_S, _MOST_BACK_OFF_S, _PROVEN_S = 0.25, 30.0, 60.0
"""Pause before a worker is started again, doubled until _MOST; as at first once it served for _PROVEN."""
_CUT_S = 5.0
"""Seconds beyond the grace after which workers that still stop are killed."""
_HEAD = 12


class Board:
    """Memory that all workers share.

    Args:
        workers: their number.
    """

    def __init__(self, workers: int) -> None:
        """Make it, before workers are forked."""
        self.workers = workers
        self._memory = mmap.mmap(-1, 8 * (workers * _FIELDS + 2))
        numbers = np.frombuffer(self._memory, np.int64)
        self._head, self._rows = numbers[:2], numbers[2:].reshape(workers, _FIELDS)
        self._rows[:, _STATE] = GONE
        self._pages = [[os.memfd_create(f"aetool-{i}{side}") for side in "ab"] for i in range(workers)]

    @property
    def restarts(self) -> int:
        """Number of workers that were started again."""
        return int(self._head[1])

    @property
    def serving(self) -> int:
        """Number of workers that serve."""
        return int(np.count_nonzero(self._rows[:, _STATE] == SERVING))

    @property
    def requests(self) -> int:
        """Number of requests answered by all workers so far."""
        return int(self._rows[:, _REQUESTS].sum())

    def restarted(self) -> None:
        """Count a worker that is started again."""
        self._head[1] += 1

    def ask(self) -> int:
        """Ask all workers for their counts, and return the number of this question."""
        self._head[0] += 1
        return int(self._head[0])

    @property
    def asked(self) -> int:
        """Number of the last question."""
        return int(self._head[0])

    def have_answered(self, question: int) -> bool:
        """Decide whether all workers that serve have answered a question, or a later one."""
        rows = self._rows[self._rows[:, _STATE] == SERVING]
        return bool(np.all(rows[:, _ANSWERED] >= question))

    def read(self, worker: int) -> bytes:
        """Return what a worker, or the one before it, wrote last; empty where it wrote nothing."""
        for _ in range(3):  # another page may be written meanwhile: at most one of the two is being written
            page = self._pages[worker][int(self._rows[worker, _PAGE])]
            data = os.pread(page, os.fstat(page).st_size, 0)
            size, check = int.from_bytes(data[:8]), int.from_bytes(data[8:_HEAD])
            content = data[_HEAD : _HEAD + size]
            if len(content) == size and zlib.crc32(content) == check:
                return content
        return b""

    def others(self, worker: int) -> Iterator[tuple[bytes, bool]]:
        """Yield what each other worker, or the one before it, wrote last, and whether it serves."""
        for other in range(self.workers):
            if other != worker and (content := self.read(other)):
                yield content, bool(self._rows[other, _STATE] == SERVING)

    def close(self) -> None:
        """Free the pages; the memory goes with the process."""
        for pair in self._pages:
            for page in pair:
                os.close(page)


@dataclass(slots=True)
class Seat:
    """Place of one worker."""

    board: Board
    number: int
    parent: int
    """File descriptor that is readable when the parent has ended."""
    _before: int = field(init=False)

    def __post_init__(self) -> None:
        """Continue with the requests counted by the worker before."""
        self._before = int(self._row[_REQUESTS])

    @property
    def _row(self) -> NDArray[np.int64]:
        row: NDArray[np.int64] = self.board._rows[self.number]
        return row

    def beat(self, *, stopping: bool, requests: int) -> None:
        """Note that the event loop runs."""
        self._row[_BEAT] += 1
        self._row[_REQUESTS] = self._before + requests
        self._row[_STATE] = STOPPING if stopping else SERVING

    @property
    def is_asked(self) -> bool:
        """True while a question of another worker is not answered."""
        return self.board.asked > int(self._row[_ANSWERED])

    def is_next(self, connections: int) -> bool:
        """Note the number of connections; decide whether no other worker has fewer."""
        self._row[_CONNECTIONS] = connections
        rows = self.board._rows[self.board._rows[:, _STATE] == SERVING]
        return bool(np.all(rows[:, _CONNECTIONS] >= connections))

    def write(self, content: bytes, question: int) -> None:
        """Write the worker's counts, as the answer to a question."""
        side = 1 - int(self._row[_PAGE])
        page = self.board._pages[self.number][side]
        data = len(content).to_bytes(8) + zlib.crc32(content).to_bytes(4) + content
        os.pwrite(page, data, 0)
        self._row[_PAGE], self._row[_ANSWERED] = side, question


@dataclass(slots=True)
class _Worker:
    pid: int = 0
    failures: int = 0
    due: float = 0.0
    """Time at which to start it again."""
    since: float = 0.0
    beat: int = 0
    still: int = 0
    """Turns of the parent without a beat."""


class Parent:
    """Parent of the workers.

    Args:
        board: memory shared with them.
        work: serves in a process of its own until it is stopped.
        grace_s: time for a worker to stop.
    """

    def __init__(self, board: Board, work: Callable[[Seat], None], grace_s: float) -> None:
        """Start nothing yet."""
        self._board, self._work, self._grace_s = board, work, grace_s
        self._workers = [_Worker() for _ in range(board.workers)]
        self._has_served = self._complete = False
        self._alive, self._own = os.pipe()
        self._signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Start the first worker; at the end of the block, none is left."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            self._start(0)
            yield
        finally:
            self._kill()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(self._own)
            os.close(self._alive)

    def watch(self, tick: Callable[[], None], stopping: Callable[[], None]) -> bool:
        """Start the other workers, and again those that end, until a signal says stop; True if that was Ctrl-C.

        Args:
            tick: called all the time, while workers serve.
            stopping: called once, when they are told to stop.

        Raises:
            AetoolError: that of the first worker, where it cannot start.
        """
        while True:
            found = signal.sigtimedwait(self._signals, _TICK_S)
            number = None if found is None else signal.Signals(found.si_signo)
            if number is signal.SIGHUP:
                self._tell(signal.SIGHUP)
            elif number in (signal.SIGTERM, signal.SIGINT):
                break
            self._look()
            tick()
        log(logging.INFO, "stopping", signal=number.name)
        stopping()
        self._tell(signal.SIGTERM)
        end = time.monotonic() + self._grace_s + _CUT_S
        while self._living() and time.monotonic() < end:
            if signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, _TICK_S) is not None:
                self._tell(signal.SIGTERM)  # a second one: at once
        return number is signal.SIGINT

    def _start(self, number: int) -> None:
        seat = Seat(self._board, number, self._alive)
        seat._row[_STATE] = STARTING
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(self._own)
            _serve(seat, self._work, self._signals)
        worker = self._workers[number]
        worker.pid, worker.since, worker.still = pid, time.monotonic(), 0

    def _look(self) -> None:
        """Start what has ended again, and end what is stuck."""
        now = time.monotonic()
        if not self._has_served:  # the first one alone, so that an error is said once
            if (code := self._ended(self._workers[0])) is not None:
                raise _error(self._board.read(0), code)
            if self._board.serving:
                self._has_served = True
                for number in range(1, self._board.workers):
                    self._start(number)
            return
        if not self._complete and self._board.serving == self._board.workers:
            self._complete = True
            log(logging.INFO, "all workers serve", workers=self._board.workers)
        for number, worker in enumerate(self._workers):
            if worker.pid and (code := self._ended(worker)) is not None:
                self._board._rows[number, _STATE] = GONE
                worker.failures = 1 if now - worker.since > _PROVEN_S else worker.failures + 1
                wait = min(_MOST_BACK_OFF_S, _BACK_OFF_S * 2 ** (worker.failures - 1))
                worker.due = now + wait
                log(logging.ERROR, "a worker ended, it is started again", worker=number, code=code, seconds=wait)
            elif not worker.pid and now >= worker.due:
                self._board.restarted()
                self._start(number)
            elif worker.pid and self._board._rows[number, _STATE] == SERVING:
                beat = int(self._board._rows[number, _BEAT])
                worker.still = worker.still + 1 if beat == worker.beat else 0
                worker.beat = beat
                if worker.still >= _STUCK_TICKS:
                    log(logging.ERROR, "a worker is stuck, it is killed", worker=number)
                    os.kill(worker.pid, signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _living(self) -> bool:
        """Decide whether a worker is left; take notice of each that is not."""
        return sum(worker.pid != 0 and self._ended(worker) is None for worker in self._workers) > 0

    def _kill(self) -> None:
        self._tell(signal.SIGKILL)
        for worker in self._workers:
            if worker.pid:
                os.waitpid(worker.pid, 0)

    @staticmethod
    def _ended(worker: _Worker) -> int | None:
        """Return the exit code of a worker that has ended, negative for a signal; else None."""
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if not pid:
            return None
        worker.pid = 0
        return os.waitstatus_to_exitcode(status)


def _serve(seat: Seat, work: Callable[[Seat], None], blocked: set[signal.Signals]) -> None:
    """Serve in the process just forked, and end it: nothing of the parent's may run here."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C goes to the parent, which says stop
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        work(seat)
        code = 0
    except errors.AetoolError as error:
        log(logging.ERROR, "a worker could not start", worker=seat.number, error=str(error))
        if not seat.board.read(seat.number):  # else counts of the worker before
            seat.write(f"{type(error).__name__}\n{error}".encode(), 0)
    except BaseException:  # noqa: BLE001 - whatever it is, the process ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _error(content: bytes, code: int) -> errors.AetoolError:
    """Return the error that a worker wrote before it ended."""
    name, _, text = content.decode(errors="replace").partition("\n")
    for kind in (errors.InputError, errors.BundleError, errors.ProviderError):
        if kind.__name__ == name:
            return kind(text)
    return errors.AetoolError(
        text or f"serve: a worker ended with code {code} before it served; see the log above"
    )
