"""Segments: groups of rows whose embeddings are alike, as one more graph of a bundle."""

from aetool.segments.adding import Segmented, add_segments, name_segments

__all__ = ["Segmented", "add_segments", "name_segments"]
