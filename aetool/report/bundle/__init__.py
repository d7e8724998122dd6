"""The page of a bundle.

`data` runs the bundle over rows and collects the numbers of `records`; `page` puts the parts together:
`_scores`, `_explained` (single rows), `_embedding_map`, `_drift`, `facts` (model card, precisions, segments)
and `_training`.
"""

__all__ = ["data", "facts", "page", "records"]
