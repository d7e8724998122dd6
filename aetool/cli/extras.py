"""Imports that need an extra: a missing package becomes an error that names it."""

from collections.abc import Iterator
from contextlib import contextmanager

from aetool.errors import DependencyError


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Around imports.

    Raises:
        DependencyError: a package is missing; the message names it and `extra`.
    """
    try:
        yield
    except DependencyError:
        raise
    except ImportError as error:
        raise DependencyError(error.name or f"the extra {extra!r}", extra, purpose) from error
