"""Every error that aetool raises on purpose.

    AetoolError
    ├── InputError (ValueError)        rows, tables or options that cannot be used as given
    ├── BundleError                    a bundle that is missing, damaged, foreign or too new
    ├── CheckpointError                a training checkpoint that is missing, damaged or foreign
    ├── ProviderError                  an execution provider that is unknown or does not work here
    ├── ExportError                    a model that cannot become a deployable graph
    ├── VerificationError              graphs that do not compute what the trained model computes
    ├── BudgetError                    a variant that costs more than its user allows
    ├── ReleaseError                   a release that is refused, or a store that cannot be used
    ├── BenchmarkError                 a measurement that cannot be made, or whose result cannot be compared
    ├── OutputError (OSError)          a result that cannot be written where it was asked for
    └── DependencyError (ImportError)  a package that the job needs is not installed

A message names the thing, what was expected, what was found, and what to do about it, on one line.
"""


def reason_of(error: BaseException, most: int = 300) -> str:
    """Return the message of another library's error on one line: it may quote bytes of a file."""
    text = " ".join(str(error).split())[:most] or type(error).__name__
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def install_with(*extras: str) -> str:
    """Return how to install a missing package; aetool is in no package index, the README shows the way."""
    return f"install aetool with the extra {' or '.join(map(repr, extras))}"


class AetoolError(Exception):
    """Base class of all errors of aetool."""


class InputError(AetoolError, ValueError):
    """Rows, a table or an option cannot be used as given."""


class BundleError(AetoolError):
    """A bundle is missing, damaged, foreign or written by a newer aetool."""


class CheckpointError(AetoolError):
    """A training checkpoint is missing, damaged or foreign."""


class ProviderError(AetoolError):
    """An execution provider is unknown, absent or does not work on this machine."""


class ExportError(AetoolError):
    """A model cannot be turned into a deployable graph."""


class VerificationError(AetoolError):
    """Exported graphs do not compute what the trained model computes."""


class BudgetError(AetoolError):
    """A variant of a model exceeds the budget of its user.

    Attributes:
        tried: attempts to stay within it, in order, as plain records; the last is the reason.
    """

    def __init__(self, message: str, tried: list[dict[str, object]] | None = None) -> None:
        """Keep the message and what was tried."""
        self.tried = tuple(tried or ())
        super().__init__(message)


class ReleaseError(AetoolError):
    """A release is refused, or the store that it lies in cannot be used."""


class BenchmarkError(AetoolError):
    """A measurement cannot be made, or its result cannot be trusted, read or compared."""


class OutputError(AetoolError, OSError):
    """A result cannot be written to the requested place."""


class DependencyError(AetoolError, ImportError):
    """A required package is not installed.

    Attributes:
        extra: the extra of aetool that brings the package.
    """

    def __init__(self, package: str, extra: str, purpose: str, remedy: str = "") -> None:
        """Make the message from the package, the extra and the purpose."""
        self.extra = extra
        remedy = remedy or install_with(extra)
        super().__init__(f"{purpose} needs {package}, which is not installed: {remedy}")
