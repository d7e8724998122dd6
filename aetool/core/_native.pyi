from collections.abc import Callable
from typing import Any

class Plan:
    def __new__(
        cls,
        variant: str,
        steps: bytes,
        floats: memoryview,
        halves: memoryview,
        indexes: bytes,
        row: int,
        outputs: tuple[int, ...],
        work: int,
        second: int = 0,
    ) -> Plan: ...
    def run(self, rows: Any, outputs: tuple[Any, ...], second: Any = None, /) -> None: ...

class Caller:
    def __new__(
        cls,
        plan: Plan,
        output: int,
        row: tuple[int, ...],
        few: tuple[Callable[[], Any], ...],
        decides: bool,
        scalar: bool,
        array: type,
        slow: Callable[..., Any],
        more: Callable[[Any], Any],
    ) -> Caller: ...
    def call(self, data: Any, out: Any = None, /) -> Any: ...
    def push(self, window: Any, sample: Any, filled: int, stride: int, /) -> Any: ...

def variants() -> list[str]: ...
def float_mode() -> int: ...
def set_float_mode(mode: int, /) -> None: ...
