"""Imports that need an extra: a missing package becomes an error that names it."""

from collections.abc import Iterator
from contextlib import contextmanager

from aetool.errors import DependencyError

_DISTRIBUTIONS = {"prometheus_client": "prometheus-client", "sklearn": "scikit-learn"}
_EXTRAS = {"onnxruntime": "cpu", "pyarrow": "tables"}


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Around imports.

    Raises:
        DependencyError: a package is missing; the message names it and the extra that brings it.
    """
    try:
        yield
    except DependencyError:
        raise
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        if package == "aetool":
            raise
        raise DependencyError(
            _DISTRIBUTIONS.get(package, package) or f"the extra {extra!r}", _EXTRAS.get(package, extra), purpose
        ) from error
