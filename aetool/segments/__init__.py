"""Segments: groups of rows with similar embeddings, as one more graph of a bundle.

`adding` comes first; it calls `clustering` (k-means), `profile` (differences of each segment from all rows) and
`graph` (the segmenter in ONNX).
"""

from aetool.segments.adding import Segmented, add_segments, name_segments

__all__ = ["Segmented", "add_segments", "name_segments"]
