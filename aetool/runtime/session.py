"""AutoencoderSession: a bundle, ready to encode, decode, reconstruct, score and detect."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits
from aetool.errors import InputError
from aetool.runtime._inputs import ManyRows, OneRow, to_rows
from aetool.runtime._opened import OpenedBundle
from aetool.runtime.categories import to_names
from aetool.runtime.providers import ProviderName

if TYPE_CHECKING:
    from aetool.runtime.explain import Explanation, Reason
    from aetool.runtime.stream import Stream

Floats = NDArray[np.float32]
Decisions = NDArray[np.bool_]
Segments = NDArray[np.int64]


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
