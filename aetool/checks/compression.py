"""Embeddings sent instead of rows: how many bytes each takes, and what decoding them loses.

An autoencoder cut in two: one machine encodes and sends, another decodes.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

Format = Literal["fp32", "fp16", "int8"]
FORMATS: tuple[Format, ...] = ("fp32", "fp16", "int8")
LARGEST = 127
"""Largest int8, symmetric: -128 is left unused."""
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_FP16 = float(np.finfo(np.float16).max)

Floats = NDArray[np.float32]


class Codec(Protocol):
    """Anything with a bundle's encoder and decoder."""

    def encode(self, features: Any, /) -> Floats:
        """Return the embedding: (rows, ...) -> (rows, embedding_dim)."""
        ...

    def decode(self, embedding: Any, /) -> Floats:
        """Return the reconstruction: (rows, embedding_dim) -> (rows, ...), raw units."""
        ...


@dataclass(frozen=True, slots=True)
class Compressed:
    """Size and loss of embeddings in one format."""

    format: Format
    bytes_per_row: int
    ratio: float
    """Bytes of the features in float32, divided by these."""
    error: float
    """Root mean squared difference of the reconstruction and the features, each column scaled by its standard
    deviation over the rows: 1 is as good as the column's mean. Missing cells are left out."""
    added: float
    """Root mean squared difference to the reconstruction of the embedding in fp32, scaled alike."""


@dataclass(frozen=True, slots=True)
class Compression:
    """Size and loss of embeddings in every format."""

    rows: int
    features_bytes_per_row: int
    """Bytes of a row of features in float32."""
    formats: tuple[Compressed, ...]
    scale: tuple[float, ...]
    """Scales for int8, one per dimension of the embedding: value = scale x integer. The largest magnitude over the
    rows / 127; both sides must have it, once: it is not counted in the bytes of a row."""


def compression(codec: Codec, rows: Floats) -> Compression:
    """Encode (rows, ...), send the embeddings in each format, decode, and compare.

    Raises:
        InputError: no rows, or the model has no encoder and decoder.
    """
    if len(rows) == 0:
        raise InputError("compression: expected one row or more, found none; give a table with rows")
    embedding = codec.encode(rows).reshape(len(rows), -1)
    finite = np.where(np.isfinite(embedding), embedding, 0)
    scale = int8_scale(finite)
    shape = codec.encode(rows[:1]).shape[1:]
    sent = {
        "fp32": embedding,
        "fp16": np.clip(embedding, -_FP16, _FP16).astype(np.float16).astype(np.float32),
        "int8": from_int8(to_int8(finite, scale), scale),
    }
    known = np.isfinite(rows)
    deviation = _deviation(rows, known)
    decoded = {name: codec.decode(values.reshape(-1, *shape)) for name, values in sent.items()}
    bytes_of_row = 4 * int(np.prod(rows.shape[1:]))
    formats = []
    for name in FORMATS:
        size = _BYTES[name] * embedding.shape[1]
        formats.append(
            Compressed(
                format=name,
                bytes_per_row=size,
                ratio=bytes_of_row / size,
                error=_distance(decoded[name], rows, deviation, known),
                added=_distance(decoded[name], decoded["fp32"], deviation, np.isfinite(decoded["fp32"])),
            )
        )
    return Compression(len(rows), bytes_of_row, tuple(formats), tuple(map(float, scale)))


def int8_scale(embedding: Floats) -> Floats:
    """Return a scale per dimension, (embedding_dim,), for (rows, embedding_dim): its largest magnitude is 127."""
    scale = np.abs(embedding).max(axis=0) / LARGEST
    return np.where(scale >= np.finfo(np.float32).tiny, scale, 1).astype(np.float32)


def to_int8(embedding: Floats, scale: Floats) -> NDArray[np.int8]:
    """Round (rows, embedding_dim) to the nearest multiple of `scale`, (embedding_dim,)."""
    sent: NDArray[np.int8] = np.clip(np.rint(embedding / scale), -LARGEST, LARGEST).astype(np.int8)
    return sent


def from_int8(sent: NDArray[np.int8], scale: Floats) -> Floats:
    """Return the embedding that `decode` takes."""
    return sent.astype(np.float32) * scale


def _deviation(rows: Floats, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of each column over its known cells; 1 where a column is constant."""
    values = np.where(known, rows, 0).astype(np.float64)
    count = np.maximum(known.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    variance = (np.where(known, values - mean, 0) ** 2).sum(axis=0) / count
    deviation: NDArray[np.float64] = np.where(variance > 0, np.sqrt(variance), 1)
    return deviation


def _distance(found: Floats, expected: Floats, deviation: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    with np.errstate(invalid="ignore"):
        difference = (found.astype(np.float64) - expected)[known] / np.broadcast_to(deviation, expected.shape)[
            known
        ]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else 0.0
