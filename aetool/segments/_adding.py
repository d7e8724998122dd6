"""`add_segments` and `name_segments`: segments learnt, verified, named, and published with the bundle."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import column_names
from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import SEGMENTER, Tolerances, Variant
from aetool.bundle.write import publish
from aetool.checks.parity import EXACT, MARGIN, OutputParity, compare_graph, compare_values, summary
from aetool.errors import BundleError, InputError, OutputError, VerificationError
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import load
from aetool.segments._clustering import LIMIT, MOST_FIT_ROWS, Clustering, fit
from aetool.segments._graph import segmenter
from aetool.segments._profile import profile

BLOCK_ROWS = 4096
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Segmented:
    """Result of `add_segments`."""

    bundle: Bundle
    """Published bundle; its manifest's `segments` describe them."""
    parity: list[OutputParity]
    """Comparisons made before publishing."""

    def __repr__(self) -> str:
        """Return the bundle's name and a summary of the comparisons."""
        return f"<Segmented {self.bundle.manifest.name!r}: {summary(self.parity)}>"


def add_segments(
    path: str | Path,
    rows: Any,
    *,
    clusters: int | None = None,
    seed: int = 0,
    source: str = "",
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Segmented:
    """Learn segments from the embeddings of `rows`, and publish the bundle with them.

    Args:
        path: a bundle; its other graphs, its id and its thresholds stay as they are.
        rows: (rows, n_features) in raw units, or columns by name.
        clusters: number of segments; None: 2 to 10, by the mean silhouette.
        seed: seed of the random numbers.
        source: name of the rows in messages.
        overwrite: replace existing segments.
        limits: how much is read of the bundle, see `load`.

    Raises:
        InputError: the model gives no embedding, or the rows are too few or too much alike.
        VerificationError: the graph does not give each row the segment that scikit-learn does; nothing is
            published.
        OutputError: there are segments already and `overwrite` is false, or the disk refuses.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    manifest = bundle.manifest
    if manifest.embedding_shape is None:
        raise InputError(
            f"{path}: its model gives no embedding, which segments are made from; export one that does"
        )
    if SEGMENTER in bundle.variant("fp32").files and not overwrite:
        raise OutputError(f"{path}: has segments already; pass --overwrite to replace them")
    with load(path, provider="cpu", precision="fp32", limits=limits) as model:
        rows = model.to_rows(rows).reshape(-1, *model.input_shape)
        embedding = model.encode(rows)
    clustering = fit(embedding, clusters, seed)
    graphs = {name: segmenter(bundle.graph("encoder", name), clustering) for name in manifest.variants}
    golden = read_golden(bundle)
    expected = clustering.answers(embedding)
    golden |= clustering.answers(golden["embedding"])
    outputs = {name: _run(graph, rows) for name, graph in graphs.items()}
    parity = [
        *compare_graph(SEGMENTER, expected, outputs["fp32"], features=rows, threshold=0.0, rows=source or "given"),
        *compare_graph(
            SEGMENTER,
            golden,
            _run(graphs["fp32"], golden["features"]),
            features=rows,
            threshold=0.0,
            rows="golden",
        ),
    ]
    if failed := [f"{record.output} on {record.rows} rows: {record.reason}" for record in parity if record.reason]:
        raise VerificationError(
            f"{path}: the segmenter does not give what scikit-learn does: {'; '.join(failed)}; nothing was changed"
        )
    kept = {name: float(np.mean(answer["segment"] == expected["segment"])) for name, answer in outputs.items()}
    described = {
        **_method(clustering, seed, source, expected["segment"]),
        "same_as_fp32": kept,
        "segments": profile(
            rows, expected["segment"], len(clustering.centres), column_names(manifest), manifest.categories
        ),
    }
    tolerances = {
        name: _tolerances(
            manifest.variants[name], expected, outputs[name], golden, _run(graph, golden["features"])
        )
        for name, graph in graphs.items()
    }
    return Segmented(_published(bundle, graphs, golden, described, tolerances), parity)


def _tolerances(variant: Variant, *pairs: Arrays) -> Tolerances | None:
    """Return tolerances for a coarser precision, from pairs of expected and found; None for fp32."""
    if variant.tolerances is None:
        return None
    distance, moved = EXACT.distance, 0.0
    for expected, found in zip(pairs[::2], pairs[1::2], strict=True):
        record = compare_values(SEGMENTER, "distance", expected["distance"], found["distance"])
        if np.isfinite(record.max_scaled):
            distance = max(distance, MARGIN * record.max_scaled)
        moved = max(moved, float(np.mean(expected["segment"] != found["segment"])))
    return variant.tolerances._replace(distance=distance, segments=MARGIN * moved + 1 / len(pairs[-1]["segment"]))


def _published(
    bundle: Bundle,
    graphs: Mapping[str, bytes],
    golden: Arrays,
    described: Mapping[str, Any],
    tolerances: Mapping[str, Tolerances | None],
) -> Bundle:
    manifest = bundle.manifest
    files = {name: bundle.read(name) for name in manifest.files}
    variants = {}
    for name, variant in manifest.variants.items():
        path = (PurePosixPath(variant.files["encoder"]).parent / f"{SEGMENTER}.onnx").as_posix()
        files[path] = graphs[name]
        variants[name] = variant._replace(files={**variant.files, SEGMENTER: path}, tolerances=tolerances[name])
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **golden)
    files[GOLDEN] = stream.getvalue()
    if Bundle.open(bundle.path, limits=bundle.limits).manifest != manifest:
        raise BundleError(f"{bundle.path}: was replaced by another bundle in the meantime; segment it again")
    return publish(bundle.path, manifest._replace(variants=variants, segments=described), files, overwrite=True)


def _method(clustering: Clustering, seed: int, source: str, segment: NDArray[np.int64]) -> dict[str, Any]:
    silhouettes = clustering.silhouettes
    return {
        "clusters": len(clustering.centres),
        "chosen": "given" if silhouettes is None else "the largest mean silhouette",
        **({} if silhouettes is None else {"silhouettes": {str(k): value for k, value in silhouettes.items()}}),
        "method": f"k-means on embeddings, each number of them standardised and held within {LIMIT:g} standard "
        f"deviations; of more than {MOST_FIT_ROWS:,} rows, as many are drawn",
        "seed": seed,
        "data": source,
        "rows": len(segment),
        "rows_without_segment": int(np.count_nonzero(segment < 0)),
        "stability": {
            "adjusted_rand_index": float(clustering.agreement.mean()),
            "lowest": float(clustering.agreement.min()),
            "refits": len(clustering.agreement),
        },
    }


def _run(graph: bytes, rows: NDArray[Any]) -> Arrays:
    """Run the graph with plain onnxruntime, in blocks."""
    session = open_session(graph, PROVIDERS["cpu"], where=f"{SEGMENTER}.onnx")
    names = [output.name for output in session.get_outputs()]
    blocks = [
        session.run(names, {"features": np.ascontiguousarray(rows[start : start + BLOCK_ROWS], np.float32)})
        for start in range(0, len(rows), BLOCK_ROWS)
    ]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*blocks, strict=True), strict=True)}


# `name_segments`: what people call the segments of a bundle, kept in its manifest.

MOST_LETTERS = 100


def name_segments(path: str | Path, names: Mapping[int, str], *, limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """Name segments, and publish the bundle with the names; nothing else in it changes.

    Args:
        path: a bundle with segments.
        names: segment -> name, one line; an empty name removes it. Other segments keep their names.
        limits: how much is read of the bundle, see `load`.

    Raises:
        InputError: the bundle has no segments or not this one, or a name is not one line of text.
        BundleError: the bundle is damaged, or its segments were changed by hand.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    segments = bundle.manifest.segments
    if not segments:
        raise InputError(f"{path}: has no segments to name; make some: aetool segment learn {path} TABLE")
    named = []
    try:
        for entry in segments["segments"]:
            name = names.get(entry["segment"], entry.get("name", ""))
            rest = {key: value for key, value in entry.items() if key != "name"}
            named.append({"segment": entry["segment"], **({"name": _checked(name)} if name else {}), **rest})
    except (AttributeError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: the segments in its manifest were changed by hand ({type(error).__name__}: {error}); make "
            f"them again: aetool segment learn {path} TABLE --overwrite"
        ) from error
    if other := sorted(set(names) - {entry["segment"] for entry in named}):
        raise InputError(f"segment {other[0]}: {path} has segments 0 to {len(named) - 1}; name one of them")
    manifest = bundle.manifest._replace(segments={**segments, "segments": named})
    return publish(path, manifest, {name: bundle.read(name) for name in manifest.files}, overwrite=True)


def _checked(name: str) -> str:
    if not name.isprintable() or len(name) > MOST_LETTERS:
        raise InputError(
            f"name {name[:40]!r}: one line of at most {MOST_LETTERS} letters expected, found {len(name)}; "
            "shorten it"
        )
    return name
