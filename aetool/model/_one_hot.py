"""One-hot encoding of a table's columns and back: numbers stay, categories become an indicator each."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aetool.model.statistics import Statistics

_NEAR_TIE = 1e-5
"""Largest difference of two indicators, relative to their column's range, at which rounding decides between
them."""


class OneHot(nn.Module):
    """Raw columns (numbers, and indexes of categories) to encoded ones (numbers, and indicators), and back.

    Works in a handful of operations, however many columns there are. A value that is no index of a category,
    NaN too, sets none of its column's indicators.
    """

    source: Tensor
    index: Tensor
    indicator: Tensor
    blocks: Tensor
    padding: Tensor
    order: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        """Prepare the blocks; `sizes` has the categories of each raw column, one or more, or 0 for a number."""
        super().__init__()
        widths = [size or 1 for size in sizes]
        starts = np.cumsum([0, *widths])
        categorical = [column for column, size in enumerate(sizes) if size]
        self.sizes = tuple(sizes)
        self.n_encoded = int(starts[-1])
        source = np.repeat(np.arange(len(sizes)), widths)
        # Blocks are as long as the longest; the others repeat their first indicator, which ArgMax takes once.
        places = np.arange(max(sizes))
        blocks = [starts[c] + np.where(places < sizes[c], places, 0) for c in categorical]
        order = starts[:-1].copy()
        order[categorical] = self.n_encoded + np.arange(len(categorical))
        for name, value in {
            "source": source,  # (n_encoded,) raw column of each encoded one
            "index": (np.arange(self.n_encoded) - starts[source]).astype(np.float32),  # what an indicator means
            "indicator": np.array(sizes)[source] > 0,  # (n_encoded,)
            "blocks": np.array(blocks),  # (categorical columns, most categories) encoded columns
            "padding": places >= np.array(sizes)[categorical, None],  # (categorical columns, most categories)
            "order": order,  # (columns,) where each raw column stands among the encoded and the categories found
        }.items():
            self.register_buffer(name, torch.from_numpy(value))

    def forward(self, features: Tensor) -> Tensor:
        """Encode (batch, columns) -> (batch, n_encoded)."""
        values = torch.index_select(features, 1, self.source)
        return torch.where(self.indicator, (values == self.index).to(values.dtype), values)

    def decode(self, encoded: Tensor) -> Tensor:
        """Decode (batch, n_encoded) -> (batch, columns): of each block the index of the largest, or NaN."""
        blocks = self._blocks(encoded)
        first = blocks[:, :, 0]
        found = torch.argmax(blocks, dim=2).to(encoded.dtype) + (first - first)
        return self._in_order(encoded, found)

    def decode_second(self, encoded: Tensor) -> Tensor:
        """Decode like `decode`, but take the second largest where rounding may put it first."""
        blocks = self._blocks(encoded).masked_fill(self.padding, -torch.inf)
        top = torch.topk(blocks, min(2, blocks.shape[2]), dim=2)
        size = torch.where(self.padding, 0, blocks).abs().amax(dim=(0, 2)) if len(blocks) else 0.0
        near = top.values[:, :, 0] - top.values[:, :, -1] <= _NEAR_TIE * size
        found = torch.where(near, top.indices[:, :, -1], top.indices[:, :, 0]).to(encoded.dtype)
        return self._in_order(encoded, found + (blocks[:, :, 0] - blocks[:, :, 0]))

    def sum_categories(self, encoded: Tensor) -> Tensor:
        """Sum each block: (batch, n_encoded) -> (batch, columns)."""
        return self._in_order(encoded, self._blocks(encoded).masked_fill(self.padding, 0).sum(dim=2))

    def widen(self, numbers: Statistics) -> Statistics:
        """Extend statistics of the numeric columns to all columns: indicators stay as they are.

        One with scale 1 weighs what its column's values vary by, so that a column of categories counts about as
        much as one of numbers; scaled to unit spread, a column of many or rare categories would drown the rest.
        """
        numeric = np.flatnonzero(~self.indicator.numpy())
        mean, scale = np.zeros(self.n_encoded, np.float32), np.ones(self.n_encoded, np.float32)
        mean[numeric], scale[numeric] = numbers.mean, numbers.scale
        fill = None
        if numbers.fill is not None:
            fill = np.full(len(self.sizes), -1, np.float32)  # no category: a missing one is none of them
            fill[np.array(self.sizes) == 0] = numbers.fill
        return Statistics(mean, scale, fill, numbers.scores_filled)

    def centre(self, features: Tensor) -> Tensor:
        """Map (columns,) -> (n_encoded,), where indicators have no centre."""
        return torch.where(self.indicator, 0.0, features[self.source])

    def _blocks(self, encoded: Tensor) -> Tensor:
        """Reshape (batch, n_encoded) -> (batch, categorical columns, most categories)."""
        flat = torch.index_select(encoded, 1, self.blocks.flatten())
        return flat.reshape(-1, *self.blocks.shape)

    def _in_order(self, encoded: Tensor, found: Tensor) -> Tensor:
        return torch.index_select(torch.cat([encoded, found], dim=1), 1, self.order)


def one_hot(names: Sequence[str], categories: Mapping[str, Sequence[str]]) -> OneHot | None:
    """Return the encoding of a table's columns; None if all of them are numbers."""
    return OneHot([len(categories.get(name, ())) for name in names]) if categories else None


def encoded_width(names: Sequence[str], categories: Mapping[str, Sequence[str]]) -> int:
    """Return the number of columns of the network: one for each number, one for each category."""
    return len(names) + sum(len(texts) - 1 for texts in categories.values())
