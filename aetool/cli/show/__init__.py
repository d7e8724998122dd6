"""Printed results: `bench` (measurements), `bundle` (parity and precisions) and `segments`."""

__all__ = ["bench", "bundle"]
