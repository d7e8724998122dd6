"""A small real bundle."""

from app_fixtures import _npz, bundle, exported, golden, many, model, rewrite, rows, run_python  # noqa: F401
