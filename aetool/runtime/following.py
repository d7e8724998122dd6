"""Followed: the current model of a directory that `aetool agent` keeps, changed over between two calls."""

import contextlib
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, absolute_path, pin
from aetool.bundle.schema import read_json
from aetool.errors import AetoolError, BundleError, InputError, reason_of
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession

CURRENT = "current"
"""Symbolic link in an agent's directory to the bundle that is used."""
REPORTS = "reports"
"""Directory in it where programs count what they have computed: VERSION.json."""
LOOK_S = 0.25
"""Seconds between two looks at the link, and between two reports of what has changed."""


class Followed:
    """The current model of an agent's directory.

    A thread looks at the link `current`. It opens another model with all of its graphs, and then takes it for the
    calls that begin from then on; calls in progress end on the model that they began with. A model that does not
    open here is reported, and the one before stays.

    `score` and `detect` count rows and anomalies, every call its errors, for the agent, which takes a model back
    that does badly. Threads may share one object; after a fork it goes on.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        provider: ProviderName = "auto",
        precision: str = "auto",
        intra_op_num_threads: int | None = None,
        threshold: float | None = None,
        limits: Limits = DEFAULT_LIMITS,
        require_signature: AnyPath | None = None,
        look_s: float | None = LOOK_S,
    ) -> None:
        """Open the current model in `path`, an agent's directory.

        Args:
            path: the directory that was given to `aetool agent -o`.
            provider: see `aetool.load`.
            precision: see `aetool.load`.
            intra_op_num_threads: see `aetool.load`.
            threshold: highest score that counts as normal, instead of each model's own. Anomalies are not counted
                then, since nothing was promised for it.
            limits: see `aetool.load`.
            require_signature: see `aetool.load`.
            look_s: seconds between two looks at the directory; None: none but by `refresh`.

        Raises:
            BundleError: there is no model yet, or it does not open here.
            ProviderError: the provider does not work here.
        """
        self._folder = absolute_path(path)
        self._options: dict[str, Any] = {
            "provider": provider,
            "precision": precision,
            "intra_op_num_threads": intra_op_num_threads,
            "threshold": threshold,
            "limits": limits,
            "require_signature": None if require_signature is None else absolute_path(require_signature),
        }
        self._counts_flagged, self._look_s = threshold is None, look_s
        self._refused: str | None = None
        self._looking, self._ended = threading.Lock(), threading.Event()
        self._tenures = [self._open(self._target())]
        """The one of the current model."""
        self._process = -1
        self._thread: threading.Thread | None = None
        self._start()
        self._at_end = weakref.finalize(self, _report_last, self._tenures)

    # What it is

    @property
    def _now(self) -> "Tenure":
        return self._tenures[0]

    @_now.setter
    def _now(self, tenure: "Tenure") -> None:
        self._tenures[0] = tenure

    @property
    def version(self) -> str:
        """Version of the model that the next call is computed by."""
        return self._now.version

    def __repr__(self) -> str:
        """Show directory and version."""
        return f"<Followed {self._folder!r}: {self.version}>"

    # What it does

    @contextlib.contextmanager
    def current(self) -> Iterator[AutoencoderSession]:
        """Yield the current model; it stays the same, and open, within the block.

        `model.manifest.id` says which it is. An error in the block counts as one of the model, unless it is an
        InputError or no Exception.
        """
        if self._process != os.getpid():
            self._start()
        tenure = self._now
        with tenure.counted():
            yield tenure.model

    def score(self, features: Any, *, out: Any = None) -> Any:
        """Return the anomaly score of each row; see `AutoencoderSession.score`."""
        return self._counted("score", features, out)

    def detect(self, features: Any, *, out: Any = None) -> Any:
        """Decide for each row whether it is an anomaly; see `AutoencoderSession.detect`."""
        return self._counted("detect", features, out)

    def encode(self, features: Any, *, out: Any = None) -> Any:
        """Return the embedding of each row; see `AutoencoderSession.encode`."""
        with self.current() as model:
            return model.encode(features, out=out)

    def reconstruct(self, features: Any, *, out: Any = None) -> Any:
        """Return the reconstruction of each row; see `AutoencoderSession.reconstruct`."""
        with self.current() as model:
            return model.reconstruct(features, out=out)

    def _counted(self, method: str, features: Any, out: Any) -> Any:
        if self._process != os.getpid():
            self._start()
        tenure = self._now
        with tenure.counted():
            found = getattr(tenure.model, method)(features, out=out)
            if self._counts_flagged:
                flagged = found if method == "detect" else ~(found <= tenure.model.threshold)
                tenure.add(int(np.size(flagged)), int(np.count_nonzero(flagged)))
        return found

    def refresh(self) -> bool:
        """Look at the directory now, report what was counted, and return whether the model has changed."""
        with self._looking:
            before, target = self._now, self._target(before=True)
            changed = False
            if target not in (None, before.target, self._refused):
                assert target is not None
                try:
                    self._now = self._open(target)
                    changed, self._refused = True, None
                except (AetoolError, OSError, MemoryError) as error:
                    if (
                        self._target(before=True) == target
                    ):  # else it was taken away meanwhile: no fault of its own
                        self._refused = target
                        Tenure(target, None, self._folder).fail(error)
            elif target == before.target:
                self._refused = None
            before.report(_PATIENCE_S if changed else 0.0)
            return changed

    def close(self) -> None:
        """Stop looking, and report what was counted."""
        self._ended.set()
        if (
            self._thread is not None
            and self._process == os.getpid()
            and self._thread is not threading.current_thread()
        ):
            self._thread.join()
        self._now.report(_PATIENCE_S)
        self._at_end.detach()

    def __enter__(self) -> "Followed":
        """Return the object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _target(self, *, before: bool = False) -> str | None:
        """Return where the link leads; None where there is none and one was there before."""
        link = os.path.join(self._folder, CURRENT)
        try:
            return os.path.join(self._folder, os.readlink(link))
        except OSError as error:
            if before:
                return None
            raise BundleError(
                f"{link}: no model there yet ({error.strerror}); start the agent: aetool agent STORE -o "
                f"{self._folder}"
            ) from error

    def _open(self, target: str | None) -> "Tenure":
        assert target is not None
        return Tenure(target, AutoencoderSession(target, preload=True, **self._options), self._folder)

    def _start(self) -> None:
        """Begin to look, in this process."""
        with self._looking if self._process in (-1, os.getpid()) else contextlib.nullcontext():
            if self._process == os.getpid():
                return
            if self._process != -1:  # after a fork: locks and thread were the parent's, its counts too
                self._looking, self._ended = threading.Lock(), threading.Event()
                self._now = Tenure(self._now.target, self._now.model, self._folder)
            self._process = os.getpid()
            if self._look_s is not None:
                arguments = weakref.ref(self), self._ended, self._look_s
                self._thread = threading.Thread(target=_look, args=arguments, name="aetool-follow", daemon=True)
                self._thread.start()


def _look(followed: "weakref.ref[Followed]", ended: threading.Event, look_s: float) -> None:
    """Refresh for as long as somebody has the object."""
    while not ended.wait(look_s):
        found = followed()
        if found is None:
            return
        found.refresh()
        del found


def _report_last(tenures: "list[Tenure]") -> None:
    for tenure in tenures:
        tenure.report(_PATIENCE_S)


class Tenure:
    """One model for as long as it is the current one, and what was counted meanwhile.

    Args:
        target: the bundle that was opened, as the link led to it.
        model: its session; None where others keep that.
        folder: the agent's directory.
    """

    def __init__(self, target: AnyPath, model: AutoencoderSession | None, folder: AnyPath) -> None:
        """Begin with nothing counted."""
        self.target, self._model = os.fspath(target), model
        self.version = os.path.basename(self.target)
        self._folder, self._process = folder, os.getpid()
        self._lock = threading.Lock()
        self._rows = self._flagged = self._errors = 0
        self._error = ""
        self._reported = (0, 0, 0)

    @property
    def model(self) -> AutoencoderSession:
        """The session."""
        assert self._model is not None
        return self._model

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count an error in the block, unless its rows are at fault."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            self.fail(error, report=False)
            raise

    def add(self, rows: int, flagged: int) -> None:
        """Count rows, and those of them that are anomalies."""
        with self._lock:
            self._rows += rows
            self._flagged += flagged

    def fail(self, error: BaseException, *, report: bool = True) -> None:
        """Count an error."""
        with self._lock:
            self._errors += 1
            self._error = f"{type(error).__name__}: {reason_of(error)}"
        if report:
            self.report(_PATIENCE_S)

    def report(self, patience_s: float = 0.0) -> None:
        """Add what was counted since the last report; where that cannot be written, the next one tries again."""
        with self._lock:
            counted = self._rows, self._flagged, self._errors
            if counted == self._reported or self._process != os.getpid():  # after a fork, the parent reports
                return
            rows, flagged, errors = (now - then for now, then in zip(counted, self._reported, strict=True))
            with contextlib.suppress(OSError):
                add_to_report(self._folder, self.version, rows, flagged, errors, self._error, patience_s)
                self._reported = counted


_PATIENCE_S = 2.0
"""Seconds that the last report of a program waits for those of others."""
MOST_BYTES = 16 << 10
"""Largest size of a report, in bytes."""


def report_of(folder: AnyPath, version: str) -> dict[str, Any]:
    """Return what programs have reported of a version; zeros where they have not, or where that is damaged."""
    none = {"version": version, "rows": 0, "flagged": 0, "errors": 0, "error": ""}
    try:
        found = read_json(os.path.join(folder, REPORTS, f"{version}.json"), MOST_BYTES)
    except (OSError, ValueError):
        return none
    if type(found) is not dict or {key: type(value) for key, value in found.items()} != {
        key: type(value) for key, value in none.items()
    }:
        return none
    sound = found["version"] == version and 0 <= found["flagged"] <= found["rows"] and found["errors"] >= 0
    return found if sound else none


def add_to_report(
    folder: AnyPath, version: str, rows: int, flagged: int, errors: int, error: str, patience_s: float
) -> None:
    """Add to the report of a version, in one step for the agent that reads it.

    Args:
        folder: the agent's directory.
        version: the version.
        rows: rows that were scored.
        flagged: those of them that are anomalies.
        errors: errors of the model.
        error: the last of them; empty if there was none.
        patience_s: seconds to wait while another program adds.

    Raises:
        OSError: it cannot be written, or another program is adding.
    """
    reports = os.path.join(folder, REPORTS)
    with pin(reports) as descriptor:
        _lock(descriptor, patience_s)
        found = report_of(folder, version)
        for name, more in (("rows", rows), ("flagged", flagged), ("errors", errors)):
            found[name] += more
        found["error"] = error or found["error"]
        temporary = os.path.join(reports, f".{version}.{os.getpid()}")
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(found, stream)
        os.replace(temporary, os.path.join(reports, f"{version}.json"))


def _lock(descriptor: int, patience_s: float) -> None:
    """Take the lock on a directory, which ends with the descriptor; a file system without locks has none."""
    import fcntl  # here: `import aetool` works on Windows, which has none

    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        except OSError:
            return
        else:
            return


def follow(
    path: AnyPath,
    *,
    provider: ProviderName = "auto",
    precision: str = "auto",
    intra_op_num_threads: int | None = None,
    threshold: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    require_signature: AnyPath | None = None,
    look_s: float | None = LOOK_S,
) -> Followed:
    """Use the current model of an agent's directory, whichever that is at each call; see `Followed`."""
    return Followed(
        path,
        provider=provider,
        precision=precision,
        intra_op_num_threads=intra_op_num_threads,
        threshold=threshold,
        limits=limits,
        require_signature=require_signature,
        look_s=look_s,
    )
