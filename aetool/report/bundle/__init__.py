"""The page of a bundle.

`data` runs the bundle over rows and collects the numbers of `records`, with `_arrays` (images and windows) and
`_changes` (drifted columns); `page` puts the parts together: `_scores`, `_explained` (single rows), `_errors`
(rows by features), `_embedding_map`, `_segments`, `_drift`, `_training`, `_layers` and `facts` (model card,
precisions).
"""

__all__ = ["data", "facts", "page", "records"]
