"""Graphs on a GPU."""
