"""The page of a bundle.

`data` runs the bundle over rows and collects the numbers of `records`; `page` puts the parts together: `scores`,
`explained` (single rows), `embedding_map`, `drift`, `facts` (model card, precisions, segments) and `training`.
"""
