"""k-means on embeddings: number of segments, centres, and stability."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from aetool.errors import InputError

Floats = NDArray[np.float64]

LIMIT = 3.0
"""Clipping of embeddings, in standard deviations: otherwise a few extreme rows would get a
segment each, and all others one."""
_MOST_CLUSTERS = 1000
_AUTO_CLUSTERS = range(2, 11)
MOST_FIT_ROWS, _MOST_SAMPLE_ROWS = 50_000, 2_000
"""Most rows to learn centres from, and most rows for silhouettes and bootstrap refits."""
_STARTS, _REFITS, _REFIT_STARTS = 10, 20, 3


@dataclass(frozen=True, slots=True)
class Clustering:
    """Segments fitted to embeddings."""

    mean: Floats
    """(embedding_dim,) mean: z = clip((embedding - mean) / scale, -LIMIT, LIMIT)"""
    scale: Floats
    """(embedding_dim,) standard deviation; 1 where that is 0."""
    means: KMeans
    """k-means fitted on z in float64; centres in the order of the segments, the largest first."""
    silhouettes: dict[int, float] | None
    """Number of clusters -> mean silhouette (Rousseeuw 1987); None where the number was given."""
    agreement: Floats
    """(_REFITS,) adjusted Rand index (Hubert & Arabie 1985) of these segments and bootstrap refits."""

    @property
    def centres(self) -> Floats:
        """Return the centres of z, (clusters, embedding_dim)."""
        return np.asarray(self.means.cluster_centers_, np.float64)

    def answers(self, embedding: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Assign in float64 with scikit-learn: segment (rows,), -1 for none, and distance (rows, clusters)."""
        z = scaled(embedding, self.mean, self.scale)
        finite = np.isfinite(z).all(axis=1)
        segment = np.full(len(z), -1, np.int64)
        distance = np.full((len(z), len(self.centres)), np.nan)
        if finite.any():
            segment[finite] = self.means.predict(z[finite])
            distance[finite] = self.means.transform(z[finite])
        return {"segment": segment, "distance": distance}


def scaled(embedding: NDArray[Any], mean: Floats, scale: Floats) -> Floats:
    """Scale (rows, ...) embeddings to z, (rows, embedding_dim); NaN where the embedding is not finite."""
    z = (_flat(embedding) - mean) / scale
    return np.where(np.isfinite(z), np.clip(z, -LIMIT, LIMIT), np.nan)


def fit(embedding: NDArray[Any], clusters: int | None, seed: int) -> Clustering:
    """Cluster (rows, ...) embeddings; `clusters` None: as many as have the best silhouette.

    Raises:
        InputError: too few different embeddings.
    """
    # One thread: more gain nothing for so many rows, and spin while they wait for each other, so that beside
    # another busy process the same work took 5 to 9 times as long.
    with threadpool_limits(1, user_api="openmp"):
        return _fit(_flat(embedding), clusters, seed)


def _fit(flat: Floats, clusters: int | None, seed: int) -> Clustering:
    random = np.random.default_rng(seed)
    flat = _some(flat[np.isfinite(flat).all(axis=1)], MOST_FIT_ROWS, random)
    _require_enough(flat, clusters)
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    z = scaled(flat, mean, scale)
    _require_enough(z, clusters)  # what lies beyond LIMIT is alike
    sample = _some(z, _MOST_SAMPLE_ROWS, random)
    silhouettes = None
    if clusters is None:
        most = min(len(np.unique(sample, axis=0)) - 1, _AUTO_CLUSTERS[-1])
        counts = range(_AUTO_CLUSTERS[0], max(most, _AUTO_CLUSTERS[0]) + 1)
        silhouettes = {count: _silhouette(z, sample, count, seed) for count in counts}
        clusters = max(silhouettes, key=lambda count: silhouettes[count])
    means = _means(z, clusters, seed, _STARTS)
    largest_first = np.argsort(-np.bincount(means.labels_, minlength=clusters), kind="stable")
    means.cluster_centers_ = np.ascontiguousarray(means.cluster_centers_[largest_first])
    found = means.predict(sample)
    agreement = np.empty(_REFITS)
    for i in range(_REFITS):
        again = _means(sample[random.integers(0, len(sample), len(sample))], clusters, seed + i, _REFIT_STARTS)
        agreement[i] = adjusted_rand_score(found, again.predict(sample))
    return Clustering(mean, scale, means, silhouettes, agreement)


def _flat(embedding: NDArray[Any]) -> Floats:
    return embedding.reshape(len(embedding), math.prod(embedding.shape[1:])).astype(np.float64)


def _require_enough(rows: Floats, clusters: int | None) -> None:
    wanted = 2 if clusters is None else clusters
    if not 2 <= wanted <= _MOST_CLUSTERS:
        raise InputError(
            f"clusters: expected 2 to {_MOST_CLUSTERS:,}, or auto, found {clusters!r}; choose another"
        )
    different = len(np.unique(rows, axis=0))
    if different <= wanted:
        raise InputError(
            f"clusters: {wanted} segments need more than {wanted} different embeddings, found {different}; "
            "give more rows, or fewer clusters"
        )


def _means(z: Floats, clusters: int, seed: int, starts: int) -> KMeans:
    # A bootstrap sample may hold fewer different rows than clusters: they are then as many as it holds.
    return KMeans(min(clusters, len(np.unique(z, axis=0))), n_init=starts, random_state=seed).fit(z)


def _silhouette(z: Floats, sample: Floats, clusters: int, seed: int) -> float:
    labels = _means(z, clusters, seed, _REFIT_STARTS).predict(sample)
    kinds = len(np.unique(labels))
    return float(silhouette_score(sample, labels)) if 1 < kinds < len(sample) else -1.0


def _some(rows: Floats, most: int, random: np.random.Generator) -> Floats:
    return rows if len(rows) <= most else rows[random.choice(len(rows), most, replace=False)]
