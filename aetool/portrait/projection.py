"""Embeddings in two dimensions."""

import importlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aetool.errors import DependencyError

Floats = NDArray[np.float64]
Method = Literal["pca", "umap"]
LIMIT = 3.0
"""Standard deviations beyond which a number of an embedding counts no more, as in segments: else a few extreme
rows would squeeze all others into one place."""
LEAST_ROWS = 3


def project(embedding: NDArray[Any], method: Method) -> tuple[Floats, str]:
    """(rows, ...) finite -> (rows, 2), 0 to 1, and the method in words.

    Raises:
        DependencyError: UMAP is asked for and `umap-learn` is not installed.
    """
    flat = embedding.reshape(len(embedding), -1).astype(np.float64)
    spread = flat.std(axis=0)
    z = np.clip((flat - flat.mean(axis=0)) / np.where(spread > 0, spread, 1.0), -LIMIT, LIMIT)
    if method == "umap":
        return _to_unit(_umap(z)), "UMAP (McInnes et al. 2018), seed 0"
    places, explained = _pca(z)
    return _to_unit(places), f"the first two principal components, {explained * 100:.0f} % of the variance"


def _pca(z: Floats) -> tuple[Floats, float]:
    centred = z - z.mean(axis=0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component means nothing: fixed, so that the same rows give the same picture.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    places = np.zeros((len(z), 2))
    count = min(2, len(singular))
    places[:, :count] = (left * singular * signs)[:, :count]
    total = float((singular**2).sum())
    return places, float((singular[:2] ** 2).sum()) / total if total else 1.0


def _umap(z: Floats) -> Floats:
    try:
        umap = importlib.import_module("umap")
    except ImportError as error:
        raise DependencyError("umap-learn", "umap", "a map by UMAP") from error
    # Neighbours: UMAP's default of 15, fewer where there are not as many rows.
    neighbours = min(15, len(z) - 1)
    found = umap.UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(z)
    return np.asarray(found, np.float64)


def _to_unit(places: Floats) -> Floats:
    low, high = places.min(axis=0), places.max(axis=0)
    unit: Floats = (places - low) / np.where(high > low, high - low, 1.0)
    return unit
