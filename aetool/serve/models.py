"""Served models by name.

A bundle NAME gives several models, one for the whole and one for each graph:

    NAME              features -> score, is_anomaly, reconstruction, embedding, and if asked for p_value and
                      probability; runs what the asked outputs need
    NAME.encoder      features -> embedding
    NAME.decoder      embedding -> reconstruction
    NAME.autoencoder  features -> embedding, reconstruction
    NAME.detector     features -> score, is_anomaly

Bundles of the same name are versions of one model; requests without a version get the last of them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aetool.bundle.manifest import MANIFEST
from aetool.errors import InputError
from aetool.runtime.following import CURRENT, Tenure
from aetool.serve._batching import Batcher, Line
from aetool.serve._live import LiveRows
from aetool.serve._protocol import CALIBRATED, InferRequest, Signature
from aetool.serve._shadow import Run, Shadow
from aetool.serve.limits import ServerLimits
from aetool.serve.warmup import Ready

Observe = Callable[[int, float], None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """Directory of a bundle, and its name."""

    name: str
    path: Path
    agent: Path | None = None
    """Directory of the agent whose current bundle it is."""

    def target(self) -> Path:
        """Return the directory to open: an agent's link may lead elsewhere at the next look."""
        return self.path if self.agent is None else self.agent / self.path.readlink()


def place(path: Path, name: str | None = None) -> Place:
    """Return the bundle at `path`, called like its directory unless `name` is given; or that of an agent there.

    Raises:
        InputError: the name would not do as a part of a URL.
    """
    found = path.absolute().name if name is None else name
    if not _NAME.fullmatch(found):
        raise InputError(
            f"{path}: {found!r} cannot be a model's name, which is up to 64 of A-Z a-z 0-9 _ -, first a letter or "
            "digit; give NAME=PATH"
        )
    link = path / CURRENT
    return Place(found, link, path) if link.is_symlink() and not (path / MANIFEST).exists() else Place(found, path)


class ServedModel:
    """One name and version that clients can ask for.

    Args:
        name: the model's name.
        version: beginning of the bundle's id.
        signature: its tensors.
        batchers: outputs -> their computation, the cheapest first.
        about: parameters of the metadata.
        line: rows that wait for the whole bundle.
        calibrated: makes p-values of scores.
    """

    def __init__(
        self,
        name: str,
        version: str,
        signature: Signature,
        batchers: Mapping[frozenset[str], Batcher],
        about: Any,
        line: Line,
        calibrated: Callable[[Any], Mapping[str, Any]],
    ) -> None:
        """Keep all of it; batchers are chosen at the first request."""
        self.line, self.calibrated = line, calibrated
        self.name, self.version, self.signature, self.about = name, version, signature, about
        self._batchers = batchers
        self._chosen: dict[tuple[tuple[str, bool], ...], Batcher] = {}

    def batcher(self, request: InferRequest) -> Batcher:
        """Return the cheapest computation of the requested outputs."""
        found = self._chosen.get(request.outputs)
        if found is None:
            wanted = {"score" if name in CALIBRATED else name for name, _ in request.outputs}
            found = next(batcher for outputs, batcher in self._batchers.items() if wanted <= outputs)
            self._chosen[request.outputs] = found
        return found


class Served:
    """A bundle that is ready, its batchers, and its models."""

    def __init__(
        self,
        name: str,
        ready: Ready,
        limits: ServerLimits,
        executor: Executor,
        observe: Observe,
        live: LiveRows,
        shadow: Shadow | None = None,
        tenure: Tenure | None = None,
    ) -> None:
        """Make the models of a bundle.

        Args:
            name: the bundle's name.
            ready: the bundle, open.
            limits: limits of the server.
            executor: computes batches that are not cheap.
            observe: called with the rows and seconds of each batch.
            live: shown the rows, scores and decisions of models that decide.
            shadow: shown the rows and decisions of models that decide.
            tenure: counts rows, anomalies and errors for the agent whose bundle it is.
        """
        self.tenure = tenure
        ways = dict.fromkeys([*ready.ways(), *((graph,) for graph in ready.outputs)])
        self.version = ready.version
        self.line = Line(limits)

        def runner(way: tuple[str, ...]) -> Run:
            run: Run = partial(ready.run, way)
            if tenure is not None:
                run = _counted(run, tenure)
            if "detector" not in way:
                return run
            run = live.watching(run)
            if shadow is None:
                return run
            return shadow.watching(run, ready, lambda: self.line.rows > limits.max_batch)

        self.batchers = {
            way: Batcher(runner(way), ready.cost(way), limits, executor, observe, self.line) for way in ways
        }
        session = ready.session
        about = {
            "bundle_id": session.manifest.id,
            "threshold": session.threshold,
            "precision": session.precision,
            "provider": session.provider,
            "feature_names": session.feature_names,
        }
        self.models = [self._whole(name, ready, about)]
        for graph in ready.outputs:
            more = ready.calibrated if graph == "detector" else ()
            signature = Signature(ready.inputs[graph], ready.outputs[graph], more)
            by_outputs = {frozenset(signature.output_names): self.batchers[graph,]}
            self.models.append(
                ServedModel(
                    f"{name}.{graph}", self.version, signature, by_outputs, about, self.line, session.calibrated
                )
            )

    def _whole(self, name: str, ready: Ready, about: Any) -> ServedModel:
        tensors = {
            tensor.name: tensor
            for graph in ("detector", "autoencoder", "encoder")
            for tensor in ready.outputs.get(graph, ())
        }
        by_outputs: dict[frozenset[str], Batcher] = {}
        for way in ready.ways():
            names = frozenset(tensor.name for graph in way for tensor in ready.outputs[graph])
            by_outputs.setdefault(names, self.batchers[way])
        signature = Signature(ready.inputs["detector"], tuple(tensors.values()), ready.calibrated)
        calibrated = ready.session.calibrated
        return ServedModel(name, self.version, signature, by_outputs, about, self.line, calibrated)


def _counted(run: Run, tenure: Tenure) -> Run:
    def counted(rows: Any) -> Any:
        with tenure.counted():
            outputs = run(rows)
        if (decisions := outputs.get("is_anomaly")) is not None:
            tenure.add(len(rows), int(np.count_nonzero(decisions)))
        return outputs

    return counted


class Catalogue:
    """The bundles that are served now."""

    def __init__(self, served: Sequence[tuple[Place, Served]]) -> None:
        """Index the models by name and path."""
        self._served = dict(served)
        self.models: dict[tuple[str, str | None], ServedModel] = {}
        """(name, version, or None for the default) -> model."""
        self.infer: dict[str, ServedModel] = {}
        """Path of an inference request -> model. Nothing that a client sends ever becomes a path of files."""
        self._index()

    def replace(self, place: Place, served: Served) -> None:
        """Serve another bundle in `place`; requests under way finish on the old one."""
        self._served[place] = served
        self._index()

    def report(self) -> None:
        """Tell agents what was computed by their bundles."""
        for served in self._served.values():
            if served.tenure is not None:
                served.tenure.report()

    def versions(self, name: str) -> list[str]:
        """Return a model's versions, in the order of the bundles; the last is the default."""
        return [version for found, version in self.models if found == name and version is not None]

    def names(self) -> list[str]:
        """Return the names of all models."""
        return [name for name, version in self.models if version is None]

    def waiting_rows(self) -> int:
        """Count the rows that wait to be computed."""
        return sum(served.line.rows for served in self._served.values())

    def _index(self) -> None:
        self.models, self.infer = {}, {}
        for served in self._served.values():
            for model in served.models:
                versioned = f"/v2/models/{model.name}/versions/{model.version}/infer"
                self.models[model.name, model.version] = self.infer[versioned] = model
                self.models[model.name, None] = self.infer[f"/v2/models/{model.name}/infer"] = model
