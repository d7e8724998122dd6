"""Printed results: `bench` (measurements), `bundle` (parity, precisions, segments) and `scores` (of a table)."""

__all__ = ["bench", "bundle", "scores"]
