"""Pictures, tables and the frame of a page.

`markup` (escaped HTML) comes first, then `svg` (scales and shapes), `tables`, `units` (numbers as text) and
`page`.
"""

__all__ = ["markup", "page", "svg", "tables", "units"]
