"""A bundle opened: its facts, the function of each method of its session, and its life until it is closed."""

import ctypes
import math
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle, Identity, tuning_file
from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, absolute_path
from aetool.bundle.manifest import SEGMENTER, Manifest
from aetool.errors import BundleError, InputError
from aetool.runtime._inputs import to_rows
from aetool.runtime._native_calls import forget_after_fork
from aetool.runtime.categories import indexes_of
from aetool.runtime.cpu import Call, Graph
from aetool.runtime.graphs import GraphLoader
from aetool.runtime.native import NativeGraph
from aetool.runtime.providers import ProviderName
from aetool.runtime.settings import DEFAULTS, MAX_THREADS, RunSettings
from aetool.runtime.threshold import as_threshold, deciding, deciding_all

if TYPE_CHECKING:
    from aetool.runtime.calibrator import Calibrator
    from aetool.runtime.gpu.graph import DeviceGraph
    from aetool.runtime.ort import NodePlacement
    from aetool.runtime.tuning import Tuning

Floats = NDArray[np.float32]
_Arguments = tuple[str, ProviderName, str, int | None, RunSettings | None, Limits | None, str | None, bool]
_State = tuple[_Arguments, Identity, float | None]
"""State of a pickle: how to open the bundle, and what must be the same there."""

COMPUTED: dict[str, tuple[str, str | None]] = {
    "encode": ("encoder", "embedding"),
    "decode": ("decoder", "reconstruction"),
    "reconstruct": ("autoencoder", "reconstruction"),
    "score": ("detector", "score"),
    "detect": ("detector", "is_anomaly"),
    "explain": ("explainer", None),
    "segment": (SEGMENTER, "segment"),
}
"""Method -> the graph and the output that it returns; None for all."""


class OpenedBundle:
    """A bundle opened for inference, and what is known of it.

    Graphs are opened as they are first used. After a fork and after unpickling they are opened again, by path.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        provider: ProviderName = "auto",
        precision: str = "auto",
        intra_op_num_threads: int | None = None,
        threshold: float | None = None,
        settings: RunSettings | None = None,
        limits: Limits | None = DEFAULT_LIMITS,
        require_signature: AnyPath | None = None,
        preload: bool = False,
    ) -> None:
        """Open the bundle at `path`.

        The tuning file `NAME.tuning.json` beside the bundle, written by `aetool tune`, is used if it was made with
        this machine, this version of aetool and this bundle, and does not contradict the arguments. Otherwise it
        is ignored; `tuning` gives the reason.

        Args:
            path: the bundle's directory.
            provider: "cpu", "cuda", "openvino" or "auto". "auto" is that of the tuning file; without one, a GPU if
                one works, for batches that are faster there, else the CPU.
            precision: a precision of the bundle or "auto". "auto" is that of the tuning file; without one, fp32.
            intra_op_num_threads: cores per call. None is the number of the tuning file; without one, all that this
                process may use.
            threshold: highest score that counts as normal, instead of the bundle's; see the attribute.
            settings: settings to run with, instead of the tuning file.
            limits: limits on what is read and on the size of graphs. None accepts whatever onnxruntime does, for
                bundles whose author you trust like the author of a program.
            require_signature: file of a public key (PEM, Ed25519); only bundles that its owner signed are opened.
            preload: open every graph now, not at its first use: the process no longer needs the directory.

        Raises:
            BundleError: there is no bundle, or it is damaged, lacks the precision or the signature, or has a graph
                that is refused; or the tuning file is damaged.
            ProviderError: the provider is unknown or does not work here.
            DependencyError: onnxruntime, or for a signature cryptography, is not installed.
        """
        threads = intra_op_num_threads
        if threads is not None and not (type(threads) is int and 1 <= threads <= MAX_THREADS):
            raise InputError(
                f"intra_op_num_threads: expected an integer of 1 to {MAX_THREADS}, found {threads!r}; leave it "
                "out for all cores"
            )
        self._own_threshold = None if threshold is None else as_threshold(threshold)
        key = None if require_signature is None else absolute_path(require_signature)
        self._bundle = Bundle.open(absolute_path(path), limits=limits or DEFAULT_LIMITS, public_key=key)
        where = self._bundle.where
        self._arguments: _Arguments = where, provider, precision, threads, settings, limits, key, preload
        self._tuning: Tuning | None = None
        if settings is None and os.path.lexists(tuning_file(self._bundle.where)):
            from aetool.runtime.tuning import find_tuning  # here: most bundles have none

            self._tuning = find_tuning(self._bundle, provider, precision)
        opened_on: str = provider
        if self._tuning is not None and (choice := self._tuning.choice) is not None:
            opened_on, precision, settings = choice.provider, choice.precision, choice.settings
        self._precision = "fp32" if precision == "auto" else precision
        self._names = self._bundle.manifest.feature_names
        self._categories = self._bundle.manifest.categories
        self._indexes = {name: indexes_of(texts) for name, texts in self._categories.items()}
        self._opener = GraphLoader(self._bundle, self._precision, opened_on, threads, settings or DEFAULTS, limits)
        self._graphs: dict[str, Graph | NativeGraph | DeviceGraph] = {}
        """Graphs by name, or by `score alone` where one was opened for that output."""
        self._calls: dict[str | tuple[str, None], Call] = {}
        """Functions by a method of COMPUTED, or by a graph and None for all its outputs."""
        self._lock = threading.RLock()  # a signal handler may compute while its thread opens a graph
        self._closed = False
        forget_after_fork(self)
        if preload:
            self._open_all()

    # What it is

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest, as it was when it was opened."""
        return self._bundle.manifest

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self._bundle.manifest.name

    @property
    def provider(self) -> ProviderName:
        """Execution provider that runs the graphs."""
        return self._opener.provider.name

    @property
    def precision(self) -> str:
        """Precision of the graphs."""
        return self._precision

    @property
    def tuning(self) -> "Tuning | None":
        """Tuning file beside the bundle, with the reason if it is ignored; None if there is none."""
        return self._tuning

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in order; empty if the model has none."""
        return self._names

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Categories by feature: arrays hold indexes into them, columns by name hold the text."""
        return MappingProxyType(self._categories)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row: (n_features,) for tables."""
        return self._bundle.manifest.input_shape

    @property
    def n_features(self) -> int:
        """Numbers in one row."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        """Numbers in one embedding; 0 if the model has none."""
        return self._bundle.manifest.embedding_dim

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs, for `run`."""
        return self._opener.graphs

    @property
    def threshold(self) -> float:
        """Highest score that still counts as normal, a float32 number.

        The bundle's for this precision, unless set: `model.threshold = 0.5`, or None for the bundle's again. A
        threshold that is set decides in `detect` and `run` of this object; the scores do not change.
        """
        own = self._own_threshold
        return self._opener.variant.threshold if own is None else own

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        own = None if value is None else as_threshold(value)
        with self._lock:
            self._own_threshold = own
            for call in ("detect", ("detector", None)):
                self._calls.pop(call, None)

    @property
    def row_threshold(self) -> float:
        """Highest score of a row of a log that still counts as normal, as `aetool score --moments` gives scores.

        `threshold` where one was set, or where the bundle has none of its own for rows.
        """
        own = self.manifest.row_threshold(self._precision) if self._own_threshold is None else None
        return self.threshold if own is None else as_threshold(own)

    def __repr__(self) -> str:
        """Show name, sizes, precision and provider."""
        return (
            f"<AutoencoderSession {self.name!r}: {self.n_features} features, embedding {self.embedding_dim}, "
            f"{self.precision} on {self.provider}>"
        )

    # Graphs

    def native_rows(self, graph: str = "detector") -> int:
        """Return the rows up to which aetool's own core answers for `graph`; 0 where it does not run it.

        The provider "native" is the core for all rows, sys.maxsize; "auto" is the core for a few rows of graphs
        that it runs.
        """
        self._call((graph, None))
        opened = self._graphs[graph]
        return opened.most_rows if isinstance(opened, NativeGraph) else 0

    def placement(self, graph: str = "detector") -> "list[NodePlacement]":
        """Return the execution provider of each node of `graph`, as onnxruntime records it."""
        return self._opener.placement(graph)

    @property
    def calibrator(self) -> "Calibrator":
        """Function from scores to p-values, opened at its first use."""
        if (found := self._calls.get("calibrate")) is None:
            from aetool.runtime.calibrator import Calibrator  # here: few programs need it

            with self._lock:
                self._require_open()
                made = Calibrator(self._bundle, self._precision, self._arguments[5])
                found = self._calls.setdefault("calibrate", made)
        return cast("Calibrator", found)

    def _call(self, what: str | tuple[str, None]) -> Call:
        """Return the function that computes `what`, a key of `_calls`; open its graph."""
        with self._lock:
            self._require_open()
            graph, output = COMPUTED[what] if isinstance(what, str) else what
            alone = self._opener.alone(graph, output)
            opened = graph if alone is None else f"{alone} alone"
            if opened not in self._graphs:
                self._graphs[opened] = self._opener.open(graph, self._converter(graph), alone)
            found, own = self._graphs[opened].caller(output), self._own_threshold
            if own is not None and graph == "detector" and output != "score":
                found = deciding_all(found, own) if output is None else deciding(self._call("score"), own)
            return self._calls.setdefault(what, found)

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(f"{self.name}: the session is closed; load the bundle again")

    def _open_all(self) -> None:
        if self._opener.variant.calibrator is not None:
            _ = self.calibrator
        for method, (graph, _) in COMPUTED.items():
            if graph in self.graphs:
                self._call(method)
                self._call((graph, None))

    def _converter(self, name: str) -> Callable[[Any], Floats]:
        # Without a reference to this object, which refers to the graph: both go as soon as nobody has this one.
        if name == "decoder":
            shape = self._bundle.manifest.embedding_shape or ()
            return partial(to_rows, names=(), shape=shape, what="embedding")
        return partial(to_rows, names=self._names, shape=self.input_shape, categories=self._indexes)

    def close(self) -> None:
        """Free the sessions; the object can no longer be used."""
        with self._lock:
            self._closed = True
            self._graphs, self._calls, self._opener.tried = {}, {}, {}

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self.close()

    def __getstate__(self) -> _State:
        """Return how to open the bundle again."""
        return self._arguments, self._bundle.identity(), self._own_threshold

    def __setstate__(self, state: _State) -> None:
        """Open the bundle again, if it is still the same."""
        (path, provider, precision, threads, settings, limits, key, preload), pickled, threshold = state
        self.__init__(  # type: ignore[misc]
            path,
            provider=provider,
            precision=precision,
            intra_op_num_threads=threads,
            threshold=threshold,
            settings=settings,
            limits=limits,
            require_signature=key,
            preload=preload,
        )
        if not self._bundle.still_is(pickled, self._precision):
            self.close()
            raise BundleError(
                f"{path}: another bundle than the one that was pickled ({pickled[0][:12]}, found "
                f"{self.manifest.id[:12]}): it was replaced meanwhile; load it again and pickle that, or publish "
                "each version at a path of its own"
            )

    def _forget_after_fork(self) -> None:
        # The sessions belong to the parent: their threads do not exist here, so that even freeing them
        # could wait for ever. The lock may be held by a thread that does not exist here either.
        for sessions in (self._graphs, self._calls, self._opener.tried):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(sessions))  # never freed, not even at exit
        self._graphs, self._calls, self._opener.tried = {}, {}, {}
        self._lock = threading.RLock()
