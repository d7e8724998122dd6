"""The page of a bundle.

`data` runs the bundle over rows and collects the numbers of `records`, with `_explained_data`, `_images` and
`_windows` (single rows); `page` puts the parts together: `_scores`, `_explained` (single rows),
`_embedding_map`, `_drift`, `_model` (training and layers) and `facts` (model card, precisions, segments).
`log_events` finds the events of a log.
"""

__all__ = ["data", "facts", "log_events", "page", "records"]
