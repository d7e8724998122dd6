"""A run that failed: what to raise, by who failed."""

from typing import Any

from aetool.errors import AetoolError, BundleError, ProviderError, reason_of
from aetool.runtime.providers import PROVIDERS

MEMORY = ("bad allocation", "bad_alloc", "failed to allocate memory", "out of memory", "cannot allocate memory")
"""What onnxruntime says, in small letters, where the machine refuses memory."""


def require_memory(error: BaseException, what: str) -> None:
    """Raise MemoryError if an error of onnxruntime says that memory was refused; `what` needed it.

    Raises:
        MemoryError: memory was refused; the message names `what`.
    """
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY):
        raise MemoryError(
            f"{what} need more memory than there is; give fewer or smaller rows, or more memory"
        ) from error


def run_failed(error: Exception, session: Any, where: str, shape: tuple[int, ...]) -> AetoolError:
    """The error for one of onnxruntime: on the CPU the graph is to blame, elsewhere perhaps the device.

    Args:
        session: the one that ran.
        where: the graph's file, for messages.
        shape: of the rows.
    """
    used = session.get_providers()[0]
    what = f"{where}: onnxruntime failed on rows of shape {tuple(shape)} ({reason_of(error)})"
    if used == PROVIDERS["cpu"].registered:
        return BundleError(f"{what}; run aetool verify on the bundle")
    return ProviderError(f"{what} in {used}; use provider='cpu', or fewer rows at a time, and run aetool doctor")
