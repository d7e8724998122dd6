"""Opening of a bundle's graphs: the provider, the threads, and the check that a graph is the manifest's."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.manifest import SEGMENTER
from aetool.core.native import vectors
from aetool.core.program import Program
from aetool.core.translate import Tail, UnsupportedError, translate, translate_tail
from aetool.errors import BundleError, InputError, ProviderError
from aetool.onnx_check.check import require_admissible
from aetool.onnx_check.edit import with_only, with_outputs, with_product
from aetool.onnx_check.model import OnnxModel, ReadParts, read_model
from aetool.runtime._binding import Array
from aetool.runtime.cpu import TYPES, Graph
from aetool.runtime.machine import usable_cores
from aetool.runtime.native import NativeGraph, Products, RowEngine
from aetool.runtime.ort import NodePlacement, open_session, placement
from aetool.runtime.providers import PROVIDERS, Provider, candidates, has_onnxruntime, onnxruntime
from aetool.runtime.settings import RunSettings

if TYPE_CHECKING:
    from aetool.runtime.gpu.graph import DeviceGraph

NEEDED_OUTPUTS = {
    "encoder": {"embedding"},
    "decoder": {"reconstruction"},
    "autoencoder": {"reconstruction"},
    "detector": {"score", "is_anomaly"},
    "explainer": {"contribution", "reconstruction"},
    SEGMENTER: {"segment", "distance"},
}
WHY_MISSING = {
    "explainer": ": an older aetool exported it; export it again",
    SEGMENTER: ": make one with aetool segment learn, from rows to learn the segments from",
}
FEW_THREADS = 4
FEW_THREADS_BYTES = 4 << 20
"""Size of a graph, in bytes, below which more than FEW_THREADS in one run gain nothing."""
SMALL_WEIGHTS = 24_576
"""Weights up to which the core is faster for any number of rows, where it multiplies in the tail anyway."""
NATIVE_ROWS = 16
"""Rows up to which the core answers where the provider is "auto", unless `aetool tune` has measured it."""
ONE_SESSION_BYTES = 32 << 20
"""Size of a graph, in bytes, above which it is held in memory once: many rows share the session of a few."""


def few_threads(size: int) -> int:
    """Return the threads inside one run of a graph of `size` bytes, unless they are set."""
    cores = usable_cores()
    return cores if size > FEW_THREADS_BYTES else min(cores, FEW_THREADS)


class GraphLoader:
    """Loader of one bundle's graphs in one precision, all on one provider."""

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        provider: str,
        intra_op_num_threads: int | None,
        settings: RunSettings,
        limits: Limits | None,
    ) -> None:
        """Choose the provider.

        Args:
            bundle: the bundle, opened.
            precision: one of its precisions.
            provider: a name of PROVIDERS, or "auto" for the first that takes a graph of this bundle.
            intra_op_num_threads: cores that one call may use; None for those of `settings`.
            settings: threads, chunks and memory.
            limits: bounds on graphs; None for everything that onnxruntime takes.

        Raises:
            BundleError: no such precision, or a damaged graph.
            ProviderError: `provider` is unknown or does not work here.
        """
        self.bundle, self.precision, self.variant = bundle, precision, bundle.variant(precision)
        self._threads, self._settings, self._limits = intra_op_num_threads, settings, limits
        self.tried: dict[str, Any] = {}
        """Sessions that proved that a provider works, kept for the first use of their graph."""
        self._let_in: set[str] = set()
        """Graphs that were checked; the hash ensures the same bytes each time."""
        self._known = ReadParts()
        self._admitted: dict[str, OnnxModel] = {}
        """Graphs that were just admitted, until the core has read them."""
        self._read: dict[str, bytes] = {}
        """Files of graphs whose program was made, until they are opened."""
        self._programs: dict[str, Program | None] = {}
        """The core's program of a graph, None for those that it does not run."""
        self._tails: dict[str, Tail | None] = {}
        """What comes after a graph's last layer."""
        self._automatic = provider == "auto"
        self._may_be_native = provider in ("auto", "native")
        self.provider = self._choose(provider)

    @property
    def graphs(self) -> tuple[str, ...]:
        """Graphs that the bundle has in this precision."""
        return tuple(graph for graph in NEEDED_OUTPUTS if graph in self.variant.files)

    def alone(self, name: str, output: str | None) -> str | None:
        """Return `output`, if it is worth a session without the rest of the graph `name`; or None.

        The decision is two nodes after the score, which cost a fifteenth of one row of a small graph. An unchecked
        graph stays whole.
        """
        if (name, output) != ("detector", "score") or self.provider is not PROVIDERS["cpu"]:
            return None
        file = self.variant.files.get(name)
        small = file is not None and self.bundle.manifest.files[file].size <= FEW_THREADS_BYTES
        if not small or self._limits is None or (self.native_rows and self._program(name) is not None):
            return None
        return output

    def open(
        self, name: str, to_rows: Callable[[Any], Array], alone: str | None = None
    ) -> "Graph | NativeGraph | DeviceGraph":
        """Open the graph `name`, which reads what `to_rows` makes of a caller's data; only `alone`, if given.

        Raises:
            InputError: this bundle has no such graph.
            BundleError: it is damaged, or not the one that the manifest describes.
        """
        self._require_there(name)
        if self.native_rows and (program := self._program(name)) is not None:
            content, tail = self._content(name), self._tails.get(name)
            rest: Callable[[], RowEngine] = partial(self._on_cpu, PROVIDERS["cpu"], name, content, to_rows)
            if tail is not None:
                rest = partial(self._on_both, name, content, tail, to_rows)
            whole = self.provider is PROVIDERS["native"] or not has_onnxruntime()
            if tail is not None and tail.multiplied and self._settings.native_rows is None:
                whole = whole or len(program.floats) + len(program.halves) <= SMALL_WEIGHTS
            return NativeGraph(
                program,
                to_rows,
                self._cores(),
                chunk_rows=self._settings.chunk_rows,
                most_rows=self.native_rows,
                rest=None if whole else rest,
            )
        model = self._content(name)
        if self.provider is PROVIDERS["cuda"]:
            return self._on_device(name, model, to_rows)
        return self._on_cpu(self.provider, name, model, to_rows, alone)

    def on_core(self, name: str) -> bool:
        """Decide whether the core runs the graph `name`."""
        self._require_there(name)
        try:
            return vectors() is not None and self._program(name) is not None
        except ProviderError:
            return False

    def _on_both(self, name: str, content: bytes, tail: Tail, to_rows: Callable[[Any], Array]) -> NativeGraph:
        """Open a graph for many rows: the products by onnxruntime, what comes after the last by the core."""
        session = partial(
            open_session,
            with_product(content, tail.product, tail.begins),
            PROVIDERS["cpu"],
            spin_us=self._settings.spin_us,
            memory_arena=self._settings.memory_arena,
            where=self.where(name),
        )
        direct = session(intra_op_num_threads=self._direct_threads(content))
        products = Products(self.where(name), direct, session, tail.program.second)
        return NativeGraph(
            tail.program, to_rows, self._cores(), chunk_rows=self._settings.chunk_rows, products=products
        )

    def _cores(self) -> int:
        return self._threads or self._settings.workers or usable_cores()

    @property
    def native_rows(self) -> int:
        """Rows up to which the core answers, for graphs that it runs; 0 for none."""
        if self.provider is PROVIDERS["native"]:
            return sys.maxsize
        if not self._automatic or self.provider is not PROVIDERS["cpu"] or vectors() is None:
            return 0
        rows = self._settings.native_rows
        return NATIVE_ROWS if rows is None else rows

    def _program(self, name: str) -> Program | None:
        """Return the core's program of a graph; None for one that it does not run, where another engine may.

        Raises:
            ProviderError: the core does not run it, and was asked for.
        """
        if name in self._programs:
            return self._programs[name]
        content = self._read[name] = self._model(name)
        if (model := self._admitted.pop(name, None)) is None:
            bounds = self._limits or DEFAULT_LIMITS
            model = read_model(content, bounds.depth, bounds.nodes, self._known)
        try:
            program = translate(model, self.row_shape(name))
        except UnsupportedError as error:
            if self.provider is PROVIDERS["native"]:
                raise ProviderError(
                    f"{self.where(name)}: provider 'native' cannot run it: {error}; use provider='auto' or 'cpu'"
                ) from error
            self._programs[name] = None
            return None
        if name == "detector" and self._limits is not None and len(content) <= ONE_SESSION_BYTES:
            self._tails[name] = translate_tail(model, self.row_shape(name))
        graph = model.graph
        defaults = {tensor.name for tensor in graph.constants}
        shapes = dict(zip(graph.inputs, graph.input_shapes, strict=True))
        inputs = [("tensor(float)", (shapes[key] or [])[1:]) for key in shapes if key not in defaults]
        self._require_ours(name, inputs, graph.outputs, model.metadata, NEEDED_OUTPUTS[name])
        self._programs[name] = program  # not before: a graph that was refused once is refused again
        return program

    def _content(self, name: str) -> bytes:
        """Return the graph's file, read and checked once for its program and its session."""
        found = self._read.pop(name, None)
        return self._model(name) if found is None else found

    def placement(self, name: str) -> "list[NodePlacement]":
        """Return the execution provider of each node of the graph `name`."""

        self._require_there(name)
        if self.provider is PROVIDERS["native"]:
            self._program(name)
            bounds = self._limits or DEFAULT_LIMITS
            nodes = read_model(self._model(name), bounds.depth, bounds.nodes).graph.nodes
            return [NodePlacement(node.name, node.operator, self.provider.registered) for node in nodes]
        return placement(self._model(name), self.provider, self.where(name))

    def _on_device(self, name: str, model: bytes, to_rows: Callable[[Any], Array]) -> "Graph | DeviceGraph":
        from aetool.runtime.gpu.graph import DeviceGraph
        from aetool.runtime.gpu.pinned import pinned_memory  # here: nobody without a GPU should wait for it

        direct = self.tried.pop(name, None) or self._session(self.provider, name, model, 1)
        return DeviceGraph(
            self.where(name),
            direct,
            to_rows,
            self.row_shape(name),
            [output.name for output in direct.get_outputs()],
            memory=pinned_memory(),
            cpu=self._on_cpu(PROVIDERS["cpu"], name, model, to_rows) if self._automatic else None,
        )

    def _on_cpu(
        self,
        provider: Provider,
        name: str,
        model: bytes,
        to_rows: Callable[[Any], Array],
        alone: str | None = None,
    ) -> Graph:
        cores = self._cores()
        on_cpu = provider is PROVIDERS["cpu"]
        if on_cpu and len(model) <= ONE_SESSION_BYTES:
            inner = self._inner_values(name)
            whole = with_outputs(model, inner) if alone is None else with_only(model, alone, inner)
            direct = self._session(provider, name, whole, self._direct_threads(model), alone)
            open_chunked: Callable[[], Any] = partial(self._session, provider, name, model, 1)
            workers = cores
        else:
            inner, threads = (), self._shared_threads(provider)
            direct = self.tried.pop(name, None) or self._session(provider, name, model, threads)
            open_chunked, workers = lambda: direct, max(1, cores // threads)
        return Graph(
            self.where(name),
            direct,
            open_chunked,
            to_rows,
            self.row_shape(name),
            [output.name for output in direct.get_outputs() if output.name not in inner],
            workers,
            chunk_rows=self._settings.chunk_rows,
            few_sizes=provider is PROVIDERS["openvino"],
        )

    def row_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one row of the graph's input."""
        manifest = self.bundle.manifest
        return (manifest.embedding_shape or ()) if name == "decoder" else manifest.input_shape

    def where(self, name: str) -> str:
        """Return the path of the graph's file, for messages."""
        return os.path.join(self.bundle.where, self.variant.files[name])

    def _model(self, name: str) -> bytes:
        """Read the graph's file, unchanged since it was published, and check it."""
        model = self.bundle.graph(name, self.precision)
        if self._limits is not None and name not in self._let_in:
            kept = self._inner_values(name)
            read = require_admissible(
                model, self.row_shape(name), self._limits, self.where(name), kept, self._known
            )
            self._let_in.add(name)
            if self._may_be_native:
                self._admitted[name] = read
        return model

    def _inner_values(self, name: str) -> tuple[str, ...]:
        return (self.variant.inner_values or {}).get(name, ())

    def _direct_threads(self, model: bytes) -> int:
        return self._threads or self._settings.direct_threads or few_threads(len(model))

    def _shared_threads(self, provider: Provider) -> int:
        """Return the threads inside one run of a session for both few rows and many."""
        if provider is PROVIDERS["cpu"]:
            return self._threads or self._settings.direct_threads or usable_cores()
        tuned = None if self._threads or provider is not PROVIDERS["openvino"] else self._settings.direct_threads
        return tuned or 1

    def _session(self, provider: Provider, name: str, model: bytes, threads: int, alone: str | None = None) -> Any:
        session = open_session(
            model,
            provider,
            intra_op_num_threads=threads,
            spin_us=self._settings.spin_us,
            memory_arena=self._settings.memory_arena,
            where=self.where(name),
        )
        found = session.get_outputs()
        inputs = [(entry.type, list(entry.shape)[1:]) for entry in session.get_inputs()]
        needed = NEEDED_OUTPUTS[name] if alone is None else {alone}
        metadata = session.get_modelmeta().custom_metadata_map
        self._require_ours(name, inputs, [output.name for output in found], metadata, needed)
        if strange := [entry.name for entry in found if entry.type not in TYPES]:
            raise BundleError(
                f"{self.where(name)}: the outputs or inner values {', '.join(strange)} are of types that this "
                "aetool does not read; export the bundle again"
            )
        return session

    def _choose(self, name: str) -> Provider:
        """Return the first provider that takes a graph of this bundle; the requested one, or an error."""
        options = candidates(name)
        if len(options) == 1 and options[0].name in ("cpu", "native"):
            if vectors() is None:
                onnxruntime()  # which all graphs need: where it is missing, now is the time to say so
            return options[0]  # always works: no need to open a session for it
        refusals = []
        model = self._model("detector")
        for provider in options:
            try:
                session = self._session(provider, "detector", model, self._shared_threads(provider))
            except ProviderError as error:
                refusals.append(error)
            else:
                self.tried["detector"] = session
                return provider
        raise refusals[0]

    def _require_there(self, name: str) -> None:
        if name not in NEEDED_OUTPUTS:
            raise InputError(
                f"{self.bundle.manifest.name}: has no graph {name!r}; choose one of {', '.join(self.graphs)}"
            )
        if name not in self.variant.files:
            why = WHY_MISSING.get(
                name,
                ", since its model gives no embedding that reconstructs alone; export it again with --outputs",
            )
            raise InputError(
                f"{self.bundle.manifest.name}: has no {name} in {self.precision}{why}; "
                f"it has {', '.join(self.graphs)}"
            )

    def _require_ours(
        self,
        name: str,
        inputs: Sequence[tuple[str, Sequence[Any]]],
        outputs: Sequence[str],
        metadata: Mapping[str, str],
        needed: set[str],
    ) -> None:
        """Refuse a graph that is not the one the manifest describes.

        The hashes bind the files to the manifest; nothing but the graphs' own metadata binds the manifest to
        them: a threshold changed there, or two feature names swapped, would give wrong answers in silence.

        Args:
            name: the graph.
            inputs: type and shape of a row of each of its inputs, as onnxruntime writes them.
            outputs: names of its outputs.
            metadata: what the file says of itself.
            needed: outputs that the caller reads.
        """
        manifest, shape = self.bundle.manifest, list(self.row_shape(name))
        if inner := needed.intersection(self._inner_values(name)):
            raise BundleError(
                f"{self.where(name)}: the manifest calls its outputs {', '.join(inner)} inner values; export the "
                "bundle again"
            )
        found = [(kind, list(row)) for kind, row in inputs]
        if found != [("tensor(float)", shape)] or not needed.issubset(outputs):
            raise BundleError(
                f"{self.where(name)}: expected float32 rows of shape {shape} in, {', '.join(needed)} "
                f"out; found {found} in, {', '.join(outputs)} out; export the bundle again"
            )
        for key, value in (
            ("bundle", manifest.id),
            ("threshold", repr(self.variant.threshold)),
            ("feature_names", json.dumps(manifest.feature_names, ensure_ascii=False)),
            ("categories", json.dumps(manifest.categories, ensure_ascii=False)),
        ):
            if metadata.get(key, value) != value:
                raise BundleError(
                    f"{self.where(name)}: {key} {value[:40]!r} expected from the manifest, found "
                    f"{metadata[key][:40]!r}; one of them was changed, fetch or export the bundle again"
                )
