"""Pictures, tables and the frame of a page.

`units` (numbers as text) comes first, then `markup` (escaped HTML, tables), `svg` (scales and shapes) and `page`.
"""

__all__ = ["markup", "page", "svg", "units"]
