"""AutoencoderSession: a bundle, ready to encode, decode, reconstruct, score and detect."""

import ctypes
import json
import math
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle import Bundle
from aetool.errors import BundleError, InputError, ProviderError
from aetool.manifest import GRAPHS, Manifest
from aetool.runtime.arrays import to_rows
from aetool.runtime.bulk import run_rows
from aetool.runtime.categories import indexes_of, to_names
from aetool.runtime.providers import Provider, candidates
from aetool.runtime.session import open_session

Floats = NDArray[np.float32]
Decisions = NDArray[np.bool_]

_OUTPUTS = {
    "encoder": {"embedding"},
    "decoder": {"reconstruction"},
    "autoencoder": {"reconstruction"},
    "detector": {"score", "is_anomaly"},
}


class AutoencoderSession:
    """A bundle opened for inference; needs numpy and onnxruntime only.

    Every method takes (rows, n_features), any array-like of real numbers or columns by name, in raw units
    (columns of categories, see `categories`: by name as text or codes, in an array as indexes);
    a single row without its batch axis gives results without theirs. No rows give empty results. Where the
    model is no table's, rows are (rows, *input_shape): images, windows of a series.

    Threads may share one object. After a fork and after pickling it opens its graphs anew, by path.

    Raises (every method):
        InputError: the rows do not fit the model; the message names the expected shape.
        BundleError: a graph is missing or was changed since it was published.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        provider: str = "auto",
        precision: str = "auto",
        intra_op_num_threads: int = 1,
    ) -> None:
        """Open the bundle at `path`.

        Args:
            path: the bundle's directory.
            provider: "cpu", "cuda", or "auto": the first that works, see `provider` of the object.
            precision: a precision of the bundle; "auto" is fp32.
            intra_op_num_threads: threads inside one run; many rows are spread over the cores either way.

        Raises:
            BundleError: no bundle there, a damaged one, or one without that precision.
            ProviderError: the provider is unknown or does not work here.
            DependencyError: onnxruntime is not installed.
        """
        if not isinstance(intra_op_num_threads, int) or intra_op_num_threads < 1:
            raise InputError(
                f"intra_op_num_threads: expected an integer of 1 or more, found {intra_op_num_threads!r}; leave "
                "it out for 1"
            )
        self._bundle = Bundle.open(Path(path).absolute())
        self._arguments = (str(self._bundle.path), provider, precision, intra_op_num_threads)
        self._threads = intra_op_num_threads
        self._precision = "fp32" if precision == "auto" else precision
        self._variant = self._bundle.variant(self._precision)
        self._names = self._bundle.manifest.feature_names
        self._categories = self._bundle.manifest.categories
        self._indexes = {name: indexes_of(texts) for name, texts in self._categories.items()}
        self._lock = threading.Lock()
        self._sessions: dict[str, Any] = {}
        self._closed = False
        self._provider = self._choose(provider)
        _living.add(self)

    # What it is

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself, as it was when it was opened."""
        return self._bundle.manifest

    @property
    def name(self) -> str:
        return self._bundle.manifest.name

    @property
    def provider(self) -> str:
        """The execution provider that runs the graphs."""
        return self._provider.name

    @property
    def precision(self) -> str:
        return self._precision

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self._names

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Of the features that hold categories: an array holds indexes into these, columns by name the texts."""
        return MappingProxyType(self._categories)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one row: (n_features,) for tables."""
        return self._bundle.manifest.input_shape

    @property
    def n_features(self) -> int:
        """Numbers in one row."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        return self._bundle.manifest.embedding_dim

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs this bundle has: what `run` takes."""
        return tuple(graph for graph in GRAPHS if graph in self._variant.files)

    @property
    def threshold(self) -> float:
        """Highest score that still counts as normal, in this precision."""
        return self._variant.threshold

    def __repr__(self) -> str:
        return (
            f"<AutoencoderSession {self.name!r}: {self.n_features} features, embedding {self.embedding_dim}, "
            f"{self.precision} on {self.provider}>"
        )

    # What it does

    def encode(self, features: Any) -> Floats:
        """Embedding of each row: (rows, n_features) -> (rows, embedding_dim)."""
        return self.run("encoder", features)["embedding"]

    def decode(self, embedding: Any) -> Floats:
        """Reconstruction of each embedding: (rows, embedding_dim) -> (rows, n_features), raw units."""
        return self.run("decoder", embedding)["reconstruction"]

    def reconstruct(self, features: Any) -> Floats:
        """Reconstruction of each row: (rows, n_features) -> (rows, n_features), raw units."""
        return self.run("autoencoder", features)["reconstruction"]

    def score(self, features: Any) -> Floats:
        """Anomaly score of each row, higher is more abnormal: (rows, n_features) -> (rows,).

        The mean over features of the squared difference between the standardised row and its
        reconstruction, where each category is a feature. A row with NaN or Inf scores NaN or Inf; in a column of
        categories they stand for none of them.
        """
        return self.run("detector", features)["score"]

    def detect(self, features: Any) -> Decisions:
        """Whether each row is an anomaly: (rows, n_features) -> (rows,) bool.

        `not (score <= threshold)`: a score that is no number is an anomaly too.
        """
        return self.run("detector", features)["is_anomaly"]

    def to_columns(self, rows: Any) -> dict[str, NDArray[Any]]:
        """Rows or reconstructions, (rows, n_features), as columns by name: categories as text, "" for none."""
        array = to_rows(rows, self._names, self.input_shape, categories=self._indexes)
        return {
            name: to_names(column, self._categories[name]) if name in self._categories else column
            for name, column in zip(self._names, array.T, strict=True)
        }

    def run(self, graph: str, data: Any) -> dict[str, NDArray[Any]]:
        """All outputs of one graph of `graphs` by name; `data` are features, or embeddings for "decoder"."""
        session = self._sessions.get(graph) or self._open(graph)
        if graph == "decoder":
            shape = self._bundle.manifest.embedding_shape or ()
            rows = to_rows(data, (), shape, "embedding")
        else:
            shape = self._bundle.manifest.input_shape
            rows = to_rows(data, self._names, shape, categories=self._indexes)
        try:
            # The call itself is guarded, not a list of classes: onnxruntime's errors share no public base.
            outputs = run_rows(session, rows.reshape(-1, *shape))
        except MemoryError:
            raise
        except Exception as error:
            raise BundleError(
                f"{self._where(graph)}: onnxruntime failed on rows of shape {rows.shape} "
                f"({' '.join(str(error).split())[:300]}); run aetool verify on the bundle"
            ) from error
        return {name: values[0] for name, values in outputs.items()} if rows.ndim == len(shape) else outputs

    # Sessions

    def _open(self, graph: str) -> Any:
        if graph not in GRAPHS:
            raise InputError(f"{self.name}: has no graph {graph!r}; choose one of {', '.join(self.graphs)}")
        if graph not in self._variant.files:
            raise InputError(
                f"{self.name}: has no {graph}, since its model gives no embedding that reconstructs alone; it has "
                f"{', '.join(self.graphs)}"
            )
        with self._lock:
            if self._closed:
                raise InputError(f"{self.name}: the session is closed; load the bundle again")
            if graph not in self._sessions:
                model = self._bundle.graph(graph, self._precision)
                self._sessions[graph] = self._session_on(self._provider, graph, model)
            return self._sessions[graph]

    def _session_on(self, provider: Provider, graph: str, model: bytes) -> Any:
        session = open_session(model, provider, intra_op_num_threads=self._threads, where=self._where(graph))
        self._require_ours(graph, session)
        return session

    def _where(self, graph: str) -> str:
        return str(self._bundle.path / self._variant.files[graph])

    def _require_ours(self, graph: str, session: Any) -> None:
        """Refuse a graph that is not the one the manifest describes.

        The hashes bind the files to the manifest; nothing but the graphs' own metadata binds the manifest to
        them: a threshold changed there, or two feature names swapped, would give wrong answers in silence.
        """
        shape = list(self.manifest.embedding_shape or () if graph == "decoder" else self.input_shape)
        inputs = [(entry.type, list(entry.shape)[1:]) for entry in session.get_inputs()]
        outputs = {entry.name for entry in session.get_outputs()}
        if inputs != [("tensor(float)", shape)] or not outputs >= _OUTPUTS[graph]:
            raise BundleError(
                f"{self._where(graph)}: expected float32 rows of shape {shape} in, {', '.join(_OUTPUTS[graph])} "
                f"out; found {inputs} in, {', '.join(outputs)} out; export the bundle again"
            )
        found = session.get_modelmeta().custom_metadata_map
        for key, value in (
            ("bundle", self._bundle.manifest.id),
            ("threshold", repr(self.threshold)),
            ("feature_names", json.dumps(self._names, ensure_ascii=False)),
            ("categories", json.dumps(self._categories, ensure_ascii=False)),
        ):
            if found.get(key, value) != value:
                raise BundleError(
                    f"{self._where(graph)}: {key} {value[:40]!r} expected from the manifest, found "
                    f"{found[key][:40]!r}; one of them was changed, fetch or export the bundle again"
                )

    def _choose(self, name: str) -> Provider:
        """The first provider that takes a graph of this bundle; the one asked for, or an error."""
        options = candidates(name)
        if len(options) == 1 and options[0].name == "cpu":
            return options[0]  # always works: no need to open a session for it
        refusals = []
        model = self._bundle.graph("detector", self._precision)
        for provider in options:
            try:
                self._sessions["detector"] = self._session_on(provider, "detector", model)
            except ProviderError as error:
                refusals.append(error)
            else:
                return provider
        raise refusals[0]

    def close(self) -> None:
        """Free the sessions; the object cannot be used any more."""
        with self._lock:
            self._closed = True
            self._sessions = {}

    def __enter__(self) -> "AutoencoderSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[str, str, str, int]:
        return self._arguments

    def __setstate__(self, state: tuple[str, str, str, int]) -> None:
        path, provider, precision, threads = state
        self.__init__(  # type: ignore[misc]
            path, provider=provider, precision=precision, intra_op_num_threads=threads
        )

    def _forget_after_fork(self) -> None:
        # The sessions belong to the parent: their threads do not exist here, so that even freeing them
        # could wait for ever. The lock may be held by a thread that does not exist here either.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._sessions))  # never freed, not even at exit
        self._sessions = {}
        self._lock = threading.Lock()


_living: "weakref.WeakSet[AutoencoderSession]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for session in list(_living):
        session._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def load(
    path: str | Path, *, provider: str = "auto", precision: str = "auto", intra_op_num_threads: int = 1
) -> AutoencoderSession:
    """Open the bundle at `path` for inference; see `AutoencoderSession`."""
    return AutoencoderSession(
        path, provider=provider, precision=precision, intra_op_num_threads=intra_op_num_threads
    )
