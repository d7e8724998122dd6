"""Printed results: `bench` (measurements), `bundle` (parity, precisions, segments), `scores`, `training`."""

__all__ = ["bench", "bundle", "scores", "training"]
