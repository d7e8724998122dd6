"""Steps that overlap: each in a thread of its own, a few items ahead of the next."""

from collections.abc import Generator
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
DEPTH = 2
"""Items that wait between two steps at most: what bounds the memory."""
_NOTICE_S = 0.02


@dataclass(frozen=True, slots=True)
class _Over:
    error: BaseException | None


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items of a generator, which runs in a thread ahead of who takes them; its errors are raised here.

    Closing this closes the other, and waits for its thread.
    """
    queue: Queue[Any] = Queue(DEPTH)
    closed = Event()

    def fetch() -> None:
        over = _Over(None)
        try:
            for item in items:
                queue.put(item)
                if closed.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the items
            over = _Over(error)
        finally:
            items.close()
            queue.put(over)

    thread = Thread(target=fetch, name="aetool-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _Over):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        while thread.is_alive():  # it may wait for room
            try:
                queue.get(timeout=_NOTICE_S)
            except Empty:
                continue
        thread.join()
