"""A challenger beside a served bundle: it scores the same rows off the request path; decisions are counted."""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.serve._metrics import Metrics
from aetool.serve.logs import log
from aetool.serve.warmup import Ready

Rows = NDArray[np.float32]
Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[Rows], Outputs]
MOST_ROWS, MOST_BYTES = 8192, 32 << 20
"""Rows that wait for the challenger; more are left out."""


class Shadow:
    """The challenger of one served name.

    Args:
        name: the served name.
        ready: the challenger, open.
        executor: one thread that computes for it.
        metrics: counters.
    """

    def __init__(self, name: str, ready: Ready, executor: Executor, metrics: Metrics) -> None:
        """Begin without rows."""
        self._name, self._ready, self._executor = name, ready, executor
        self._compared, self._shed = metrics.shadow_of(name)
        row_bytes = 4 * int(np.prod(ready.session.manifest.input_shape))
        self._most = max(1, min(MOST_ROWS, MOST_BYTES // row_bytes))
        self._lock, self._waiting = threading.Lock(), 0

    def require_fit(self, champion: Ready) -> None:
        """Refuse a champion that takes other rows.

        Raises:
            InputError: their columns differ.
        """
        first, second = champion.session.manifest, self._ready.session.manifest
        if (first.input_shape, first.feature_names, first.categories) != (
            second.input_shape,
            second.feature_names,
            second.categories,
        ):
            raise InputError(
                f"--shadow: {self._name} takes other rows than its shadow {second.name!r}; aetool compare "
                "names the columns that differ"
            )

    def watching(self, run: Run, champion: Ready, busy: Callable[[], bool]) -> Run:
        """Return `run`, which gives the champion's decisions, with the same rows offered to the challenger.

        While `busy` says that requests wait, the challenger is left out first.
        """
        try:
            self.require_fit(champion)
        except InputError as error:
            log(logging.WARNING, "the shadow is left out", error=str(error))
            return run

        def watched(rows: Rows) -> Outputs:
            outputs = run(rows)
            self._offer(rows, outputs["is_anomaly"], busy=busy())
            return outputs

        return watched

    def _offer(self, rows: Rows, decisions: NDArray[np.bool_], *, busy: bool) -> None:
        with self._lock:
            left_out = busy or self._waiting + len(rows) > self._most
            self._waiting += 0 if left_out else len(rows)
        if left_out:
            self._shed(len(rows))
        else:
            self._executor.submit(self._compare, rows, decisions)

    def _compare(self, rows: Rows, decisions: NDArray[np.bool_]) -> None:
        try:
            own = self._ready.inline.run("detector", rows)["is_anomaly"]
            self._compared(
                len(rows), int(np.count_nonzero(own & ~decisions)), int(np.count_nonzero(decisions & ~own))
            )
        except Exception as error:  # noqa: BLE001 - the champion goes on, whatever becomes of the challenger
            log(logging.ERROR, "the shadow failed", model=self._name, error=f"{type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._waiting -= len(rows)
