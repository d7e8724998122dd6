"""Pictures, tables and the frame of a page."""
