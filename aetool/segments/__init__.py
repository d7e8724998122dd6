"""Segments: groups of rows with similar embeddings, as one more graph of a bundle.

`_adding` comes first; it calls `_clustering` (k-means), `_profile` (differences of each segment from all rows)
and `_graph` (the segmenter in ONNX).
"""

from aetool.segments._adding import Segmented, add_segments, name_segments

__all__ = ["Segmented", "add_segments", "name_segments"]
