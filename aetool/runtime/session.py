"""AutoencoderSession: a bundle, ready to encode, decode, reconstruct, score and detect."""

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle, Identity, tuning_file
from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits, absolute_path
from aetool.bundle.manifest import SEGMENTER
from aetool.errors import BundleError, InputError
from aetool.runtime._facts import OpenedBundle
from aetool.runtime._inputs import ManyRows, OneRow, to_rows
from aetool.runtime._native_calls import forget_after_fork
from aetool.runtime.categories import indexes_of, to_names
from aetool.runtime.cpu import Call, Graph
from aetool.runtime.graphs import GraphLoader
from aetool.runtime.native import NativeGraph
from aetool.runtime.providers import ProviderName
from aetool.runtime.settings import DEFAULTS, MAX_THREADS, RunSettings
from aetool.runtime.threshold import as_threshold, deciding, deciding_all

if TYPE_CHECKING:
    from aetool.runtime.calibrator import Calibrator
    from aetool.runtime.explain import Explanation, Reason
    from aetool.runtime.gpu.graph import DeviceGraph
    from aetool.runtime.ort import NodePlacement
    from aetool.runtime.stream import Stream
    from aetool.runtime.tuning import Tuning

Floats = NDArray[np.float32]
Decisions = NDArray[np.bool_]
_Arguments = tuple[str, ProviderName, str, int | None, RunSettings | None, Limits | None, str | None, bool]
_State = tuple[_Arguments, Identity, float | None]
"""State of a pickle: how to open the bundle, and what must be the same there."""
Segments = NDArray[np.int64]

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


class AutoencoderSession(OpenedBundle):
    """A bundle opened for inference; needs numpy and onnxruntime only.

    Every method takes rows in raw units: an array (rows, n_features), or columns by name. Columns of categories,
    see `categories`, hold text or codes by name, and indexes in an array. A single row without its batch axis
    gives results without one. No rows give empty results. Images and windows have the shape `input_shape`.

    Results are new arrays, or the array given as `out`.

    Threads may share one object. After a fork and after unpickling it opens its graphs again, by path. If another
    bundle is there by then, that is an error.

    Raises:
        InputError: the rows do not fit the model; the message names the expected shape.
        BundleError: a graph is missing or was changed since it was published.
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

    def __repr__(self) -> str:
        """Show name, sizes, precision and provider."""
        return (
            f"<AutoencoderSession {self.name!r}: {self.n_features} features, embedding {self.embedding_dim}, "
            f"{self.precision} on {self.provider}>"
        )

    # What it does

    def encode(self, features: Any, *, out: Floats | None = None) -> Floats:
        """Return the embedding of each row: (rows, n_features) -> (rows, embedding_dim)."""
        call = self._calls.get("encode") or self._call("encode")
        result: Floats = call(features, out)
        return result

    def decode(self, embedding: Any, *, out: Floats | None = None) -> Floats:
        """Return the reconstruction of each embedding: (rows, embedding_dim) -> (rows, n_features), raw units."""
        call = self._calls.get("decode") or self._call("decode")
        result: Floats = call(embedding, out)
        return result

    def reconstruct(self, features: Any, *, out: Floats | None = None) -> Floats:
        """Return the reconstruction of each row: (rows, n_features) -> (rows, n_features), raw units."""
        call = self._calls.get("reconstruct") or self._call("reconstruct")
        result: Floats = call(features, out)
        return result

    @overload
    def score(self, features: ManyRows, *, out: Floats | None = None) -> Floats: ...

    @overload
    def score(self, features: OneRow, *, out: None = None) -> np.float32: ...

    @overload
    def score(self, features: Any, *, out: Floats | None = None) -> Floats: ...

    def score(self, features: Any, *, out: Floats | None = None) -> Floats | np.float32:
        """Return the anomaly score of each row, higher is more abnormal: (rows, n_features) -> (rows,).

        `manifest.score["definition"]` tells what it measures: of a model that `aetool train` made, the distance
        to the reconstruction and to the nearest prototype. A row with NaN or Inf scores NaN or Inf; in a column
        of categories, they match no category.
        """
        call = self._calls.get("score") or self._call("score")
        result: Floats | np.float32 = call(features, out)
        return result

    @overload
    def detect(
        self,
        features: ManyRows,
        *,
        out: Decisions | None = None,
        fdr: float | None = None,
        per_segment: bool = False,
    ) -> Decisions: ...

    @overload
    def detect(
        self, features: OneRow, *, out: None = None, fdr: float | None = None, per_segment: bool = False
    ) -> np.bool_: ...

    @overload
    def detect(
        self, features: Any, *, out: Decisions | None = None, fdr: float | None = None, per_segment: bool = False
    ) -> Decisions: ...

    def detect(
        self, features: Any, *, out: Decisions | None = None, fdr: float | None = None, per_segment: bool = False
    ) -> Decisions | np.bool_:
        """Decide for each row whether it is an anomaly: (rows, n_features) -> (rows,) bool.

        `not (score <= threshold)`: a score that is not a number is an anomaly too. With `fdr`, such as 0.05, the
        rows are decided together by their p-values instead: the expected share of normal rows among those flagged
        is at most `fdr` (Benjamini & Hochberg 1995). With `per_segment` each segment has a threshold of its own,
        which `aetool calibrate --per-segment` chose.
        """
        if fdr is not None or per_segment:
            from aetool.runtime.calibrator import decide  # here: few programs need it

            return cast(Decisions, decide(self, features, out, fdr, per_segment))
        call = self._calls.get("detect") or self._call("detect")
        result: Decisions | np.bool_ = call(features, out)
        return result

    def p_value(self, features: Any) -> Floats:
        """Return the share of normal rows that would score as high: (rows, n_features) -> (rows,), above 0.

        The conformal p-value (1 + number of calibration scores >= score) / (1 + number of calibration scores); the
        fitted tail continues it beyond the largest. It holds for rows from where the calibration rows are from.

        Raises:
            InputError: the bundle has no calibration scores; see `aetool calibrate`.
        """
        return cast(Floats, self.calibrated(self.score(features))["p_value"])

    def probability(self, features: Any) -> Floats:
        """Return the probability that each row is an anomaly, as among the labelled rows: (rows,).

        Raises:
            InputError: no labels were given; see `aetool calibrate --probability`.
        """
        found = self.calibrated(self.score(features))
        if "probability" not in found:
            raise InputError(f"{self.name}: has no probabilities; make them: aetool calibrate --probability")
        return cast(Floats, found["probability"])

    def calibrated(self, scores: Any) -> dict[str, Any]:
        """Return p_value, and probability where there is one, of scores: (rows,) or one -> the same shape each."""
        return self.calibrator(scores)

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

    def explain(self, features: Any) -> "Explanation":
        """Explain each row's score: for every feature its contribution, the expected value and the actual one.

        Takes little longer than `reconstruct`. The contributions add up to the score, within float32 rounding. The
        result is arrays, in which categories are indexes; `reasons` gives names and text.

        Raises:
            InputError: the bundle has no explainer; export it again.
        """
        from aetool.runtime.explain import Explanation  # here: few programs need it

        call = self._calls.get("explain") or self._call("explain")
        found = self.to_rows(features)
        outputs = call(found)
        return Explanation(outputs["contribution"], outputs["reconstruction"], found)

    def reasons(self, features: Any, count: int = 3) -> "list[list[Reason]]":
        """Return for each row the `count` features that contribute most to its score, the largest first.

        Each record has the feature's name, its share of the score, and the expected and found values: categories
        by name, numbers in raw units. A single row without its batch axis gives a list of one.

        Raises:
            InputError: as `explain`; or `count` is less than 1.
        """
        if type(count) is not int or count < 1:
            raise InputError(f"count: expected an integer of 1 or more, found {count!r}; give how many to name")
        from aetool.runtime.explain import reasons_of  # here: few programs need it

        return reasons_of(self, features, count)

    @overload
    def segment(self, features: ManyRows, *, out: Segments | None = None) -> Segments: ...

    @overload
    def segment(self, features: OneRow, *, out: None = None) -> np.int64: ...

    @overload
    def segment(self, features: Any, *, out: Segments | None = None) -> Segments: ...

    def segment(self, features: Any, *, out: Segments | None = None) -> Segments | np.int64:
        """Return the segment of each row, 0 for the largest: (rows, n_features) -> (rows,) int64.

        -1 if the embedding is not a number. `run("segmenter", features)` also gives the distances to the centres;
        `manifest.segments` describes the segments.

        Raises:
            InputError: the bundle has no segments yet; see `aetool segment learn`.
        """
        call = self._calls.get("segment") or self._call("segment")
        result: Segments | np.int64 = call(features, out)
        return result

    def stream(
        self, state: Mapping[str, Any] | None = None, *, stride: int | None = None, max_gap: float | None = None
    ) -> "Stream":
        """Return a stream: push samples as they come, get scores as soon as windows are complete.

        A model may have any number of streams. A row of a table is a window of one sample.

        Args:
            state: `stream.state()` of an earlier stream, to go on from there.
            stride: samples from one window to the next; that of the bundle by default.
            max_gap: longest time between samples of a window, in seconds; that of the bundle by default, or none.
        """
        from aetool.runtime.stream import open_stream  # here: few programs need it

        self._require_open()
        return open_stream(self, state, stride, max_gap)

    def to_rows(self, features: Any) -> Floats:
        """Return the input of the graphs, (rows, n_features) float32: columns in order, categories as indexes.

        Every method does so itself; use this for rows that go elsewhere. Returns `features` itself if possible.
        """
        return self._converter("autoencoder")(features)

    def to_columns(self, rows: Any) -> dict[str, NDArray[Any]]:
        """Return rows or reconstructions, (rows, n_features), as columns by name; unknown categories are ""."""
        array = to_rows(rows, self._names, self.input_shape, categories=self._indexes)
        return {
            name: to_names(column, self._categories[name]) if name in self._categories else column
            for name, column in zip(self._names, array.T, strict=True)
        }

    def run(self, graph: str, data: Any) -> dict[str, NDArray[Any]]:
        """Return all outputs of one graph by name; `data` are features, or embeddings for "decoder"."""
        if not isinstance(graph, str):
            raise InputError(f"graph: expected one of {', '.join(self.graphs)}, found {graph!r}; give its name")
        all_of = (graph, None)
        found: dict[str, NDArray[Any]] = (self._calls.get(all_of) or self._call(all_of))(data)
        return found

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

    # Graphs

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

    def __enter__(self) -> "AutoencoderSession":
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


def load(
    path: AnyPath,
    *,
    provider: ProviderName = "auto",
    precision: str = "auto",
    intra_op_num_threads: int | None = None,
    threshold: float | None = None,
    limits: Limits | None = DEFAULT_LIMITS,
    require_signature: AnyPath | None = None,
    preload: bool = False,
) -> AutoencoderSession:
    """Open the bundle at `path` for inference; see `AutoencoderSession`."""
    return AutoencoderSession(
        path,
        provider=provider,
        precision=precision,
        intra_op_num_threads=intra_op_num_threads,
        threshold=threshold,
        limits=limits,
        require_signature=require_signature,
        preload=preload,
    )
