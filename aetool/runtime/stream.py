"""A model over samples as they come: scores as soon as windows are complete, from a buffer of one window."""

import base64
import binascii
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.manifest import Manifest
from aetool.errors import InputError, reason_of
from aetool.runtime._inputs import Rows, to_rows

STATE_VERSION = 1
_TOGETHER_BYTES = 1 << 20
"""Size in bytes of the windows that are scored in one call, at most."""
_FLOAT32 = np.dtype(np.float32)
NOTHING: NDArray[np.float32] = np.empty(0, np.float32)
"""Scores of a push that completes no window."""
NOTHING.flags.writeable = False


class _Model(Protocol):
    """The part of an AutoencoderSession that is used here, without importing it."""

    _calls: dict[Any, Any]

    @property
    def name(self) -> str: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    def score(self, features: Any) -> Any: ...
    def native_rows(self, graph: str = "detector") -> int: ...
    def to_rows(self, features: Any) -> Rows: ...


class Stream:
    """One source of samples under a model: push samples, get the scores of the windows that they complete.

    Each score has the bits of `model.score(window)` for that window alone, whatever the sizes of the blocks. On
    aetool's core those are the bits of a batch of any size; onnxruntime may round several rows differently.

    Beside the window itself a stream takes a few hundred bytes. Threads may share a stream or have their own.
    """

    __slots__ = (
        "_batch",
        "_bytes",
        "_calls",
        "_filled",
        "_last",
        "_lock",
        "_max_gap",
        "_model",
        "_push",
        "_row",
        "_rows",
        "_shift",
        "_skip",
        "_stride",
        "_window",
    )

    def __init__(self, model: _Model, stride: int, max_gap: float | None) -> None:
        """Begin without samples; see `AutoencoderSession.stream`."""
        shape = model.input_shape
        if len(shape) > 2:
            raise InputError(
                f"{model.name}: expected a table or windows of (time, channels), found rows of shape {shape}; "
                "a stream has no other samples"
            )
        if type(stride) is not int or stride < 1:
            raise InputError(
                f"stride: expected an integer of 1 or more, found {stride!r}; give samples to step by"
            )
        if max_gap is not None and not max_gap > 0:
            raise InputError(f"max_gap: expected a number above 0, found {max_gap!r}; give seconds")
        self._model, self._stride, self._max_gap = model, stride, max_gap
        self._row = shape[-1:]
        self._rows = np.zeros((1, *shape)[-2:], np.float32)
        """Samples from where the window at hand begins: from there on they shift, so that it lies in one piece."""
        self._batch = self._rows.reshape(1, *shape)
        self._bytes = self._rows.data.cast("B")
        self._window, self._shift = len(self._rows), stride * self._rows.strides[0]
        self._calls: Mapping[Any, Any] | None = None
        self._push: Callable[..., Any] | None = None
        self._filled = 0
        """Samples of the window at hand; a full one has been scored."""
        self._skip = 0
        """Samples to leave out before the next window."""
        self._last: float | None = None
        self._lock = threading.Lock()

    @property
    def window(self) -> Rows | None:
        """The window that the last sample completed, (window, channels), a copy; None if it completed none."""
        with self._lock:
            return self._rows.copy() if self._filled == self._window else None

    @property
    def until_next(self) -> int:
        """Samples until the next window is complete.

        Score i of a block of samples belongs to the window that ends with its sample until_next - 1 + i * stride.
        """
        full = self._filled == self._window
        return self._stride if full else self._skip + self._window - self._filled

    @property
    def stride(self) -> int:
        """Samples from one window to the next."""
        return self._stride

    @property
    def max_gap(self) -> float | None:
        """Longest time between samples of a window, in seconds; None for any."""
        return self._max_gap

    @property
    def time(self) -> float | None:
        """Time of the last sample; None if it had none."""
        return self._last

    def push(self, samples: Any, time: Any = None) -> NDArray[np.float32]:
        """Add a sample, (channels,), or a block, (samples, channels); return scores of completed windows.

        Samples are in raw units, an array or columns by name; missing values are NaN.

        Args:
            samples: the sample or the block.
            time: time of the sample, or of each sample of a block, in seconds from any origin. After a pause
                longer than `max_gap` the window begins anew.

        Raises:
            InputError: samples of another shape, or times that do not rise; nothing was added.
        """
        with self._lock:
            if time is None and self._push is not None and not self._skip and self._calls is self._model._calls:
                added = self._push(self._rows, samples, self._filled, self._stride)
                if type(added) is int:
                    self._filled = added
                    return NOTHING
                if added is not None:
                    self._filled = self._window
                    scores: NDArray[np.float32] = added
                    return scores
            return self._push_any(samples, time)

    def reset(self) -> None:
        """Forget the samples of the window at hand, as after a gap."""
        with self._lock:
            self._begin()
            self._last = None

    def state(self) -> dict[str, Any]:
        """Return what the stream holds as data that JSON can hold; `model.stream(state)` goes on from it."""
        with self._lock:
            held = self._rows[: self._filled].astype("<f4", copy=False).tobytes()
            return {
                "version": STATE_VERSION,
                "window": self._window,
                "channels": self._row[0],
                "stride": self._stride,
                "max_gap": self._max_gap,
                "skip": self._skip,
                "time": self._last,
                "samples": base64.b64encode(held).decode("ascii"),
            }

    def __repr__(self) -> str:
        """Show the model, the window and how far it is."""
        return f"<Stream of {self._model.name!r}: {self._filled} of {self._window} samples>"

    # Inside the lock

    def _push_any(self, samples: Any, time: Any) -> NDArray[np.float32]:
        if type(samples) is not np.ndarray or samples.dtype is not _FLOAT32 or samples.shape != self._row:
            samples = self._converted(samples)
            if samples.shape != self._row:
                return self._push_block(samples, time)
        if time is not None:
            self._require_later(time)
            if self._max_gap is not None and self._last is not None and time - self._last > self._max_gap:
                self._begin()
        filled, window = self._filled, self._window
        if filled == window:  # it was scored: make room for the next one
            if (shift := self._shift) < len(self._bytes):
                self._bytes[:-shift] = self._bytes[shift:]  # numpy takes 300 ns longer
                filled = window - self._stride
            else:
                filled, self._skip = 0, self._stride - window
            self._filled = filled
        if self._skip:
            self._skip -= 1
            found = NOTHING
        else:
            self._rows[filled] = samples
            found = NOTHING if filled + 1 < window else self._model.score(self._batch)
            self._filled = filled + 1
            if self._calls is not self._model._calls:
                self._find_push()
        if time is not None:
            self._last = time
        return found

    def _begin(self) -> None:
        self._filled = self._skip = 0

    def _require_later(self, time: Any) -> None:
        if not isinstance(time, float | int):
            raise InputError(f"time: expected seconds as a number, found {type(time).__name__}; convert it")
        if self._last is not None:
            if not time > self._last:
                raise InputError(
                    f"time: {time} is not later than {self._last}, the time of the last sample; leave out samples "
                    "that come late or twice"
                )
        elif math.isnan(time):
            raise InputError("time: expected seconds, found NaN; leave out the sample")

    def _find_push(self) -> None:
        """Find what puts a sample into the window in C, where the core scores it; anew for a reopened model."""
        calls = self._model._calls
        if (call := calls.get("score")) is not None:
            self._calls, self._push = calls, getattr(getattr(call, "__self__", None), "push", None)

    def _converted(self, samples: Any) -> Rows:
        if len(self._model.input_shape) == 1:
            return self._model.to_rows(samples)
        return to_rows(samples, self._model.feature_names, self._row, "samples")

    def _push_block(self, rows: Rows, time: Any) -> NDArray[np.float32]:
        times = None if time is None else self._times(time, len(rows))
        if not len(rows):
            return NOTHING
        gaps: list[int] = []
        if times is not None and self._max_gap is not None:
            before = times[0] if self._last is None else self._last
            gaps = np.flatnonzero(np.diff(times, prepend=before) > self._max_gap).tolist()
        found, held, skip = [], self._rows[: self._filled], self._skip
        for first, last in zip([0, *gaps], [*gaps, len(rows)], strict=True):
            scores, held, skip = self._scored(held, skip, rows[first:last])
            found.append(scores)
            if last < len(rows):  # a gap comes next
                held, skip = held[:0], 0
        self._rows[: len(held)] = held
        self._filled, self._skip = len(held), skip
        if times is not None:
            self._last = float(times[-1])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _scored(self, held: Rows, skip: int, rows: Rows) -> tuple[NDArray[np.float32], Rows, int]:
        """Return scores of windows that `rows` complete after `held`, what is held then, samples to leave out."""
        stride, window = self._stride, self._window
        if len(held) == window:
            held, skip = held[stride:], max(0, stride - window)
        samples = np.concatenate((held, rows[skip:]))
        skip = max(0, skip - len(rows))
        if len(samples) < window:
            return NOTHING, samples, skip
        windows = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0)[::stride].transpose(0, 2, 1)
        scores, together = np.empty(len(windows), np.float32), self._together()
        for first in range(0, len(windows), together):
            part = np.ascontiguousarray(windows[first : first + together]).reshape(-1, *self._model.input_shape)
            scores[first : first + len(part)] = self._model.score(part)
        rest = (len(windows) - 1) * stride
        if rest + window < len(samples):  # else the last window stays, as one that has been scored
            rest += stride
        return scores, samples[rest:], max(0, rest - len(samples))

    def _together(self) -> int:
        """Return the windows that are scored in one call: each has the bits that it has alone."""
        return max(1, min(self._model.native_rows(), _TOGETHER_BYTES // self._rows.nbytes))

    def _times(self, time: Any, count: int) -> NDArray[np.float64]:
        try:
            times = np.asarray(time, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"time: expected seconds as numbers ({error}); convert it") from error
        if times.shape != (count,):
            raise InputError(f"time: expected {count} numbers, one a sample, found shape {times.shape}")
        if count:
            before = np.array([] if self._last is None else [self._last])
            if not (np.diff(np.concatenate((before, times))) > 0).all() or np.isnan(times[0]):
                raise InputError(
                    "time: expected times that rise from sample to sample, and after the last push; leave out "
                    "samples that come late or twice"
                )
        return times


def open_stream(
    model: _Model, state: Mapping[str, Any] | None, stride: int | None, max_gap: float | None
) -> Stream:
    """Return a stream, one that goes on from `state` if it is given; see `AutoencoderSession.stream`.

    Raises:
        InputError: the rows of the model are no windows, or `state` is none of such windows.
    """
    if state is not None:
        if stride is not None or max_gap is not None:
            raise InputError("state: has a stride and a max_gap of its own; leave stride and max_gap out")
        return _restored(model, state)
    series = model.manifest.series
    if series is not None:
        stride = series.stride if stride is None else stride
        max_gap = series.gap if max_gap is None else max_gap
    return Stream(model, 1 if stride is None else stride, max_gap)


def _restored(model: _Model, state: Mapping[str, Any]) -> Stream:
    try:
        version, window, channels = state["version"], state["window"], state["channels"]
        stream = Stream(model, state["stride"], state["max_gap"])
        held = np.frombuffer(base64.b64decode(state["samples"], validate=True), "<f4")
        last, skip = state["time"], state["skip"]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"state: not what stream.state() gives ({reason_of(error)}); begin without it") from error
    rows = stream._rows
    if version != STATE_VERSION or (window, channels) != rows.shape:
        raise InputError(
            f"state: version {version}, windows of {window} x {channels}; {model.name} needs version "
            f"{STATE_VERSION}, {rows.shape[0]} x {rows.shape[1]}; begin without it"
        )
    numbers = last is None or (isinstance(last, float | int) and math.isfinite(last))
    if held.size % channels or held.size > rows.size or not numbers or type(skip) is not int or skip < 0:
        raise InputError("state: not what stream.state() gives; begin without it")
    stream._filled = held.size // channels
    rows[: stream._filled] = held.reshape(-1, channels)
    stream._skip, stream._last = skip, last
    return stream
