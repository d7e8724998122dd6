"""The compiled core: whether it is there, which vectors it uses, and programs ready to run."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.core.program import Program
from aetool.errors import ProviderError, reason_of

_core: Any = None
_why_not = ""
try:
    from aetool.core import _native

    _core = _native
except ImportError as error:  # compiled where a C compiler was, and for one kind of processor
    _why_not = reason_of(error)

VARIABLE = "AETOOL_CORE"
"""Environment variable: 0 for not at all, or a kind of vectors to use."""
MOST_FEW = 64
"""Most rows that `caller` takes."""
Call = Callable[..., Any]


def vectors() -> str | None:
    """Return the kind of vectors that the core uses here: avx512, avx2, sse2, neon or plain; None without a core.

    Raises:
        ProviderError: AETOOL_CORE asks for what this processor has not.
    """
    wanted = os.environ.get(VARIABLE, "")
    if _core is None or wanted == "0":
        return None
    found = _core.variants()
    if wanted and wanted not in found:
        raise ProviderError(
            f"{VARIABLE}={wanted[:40]}: expected 0 or what this processor has, {', '.join(found)}; unset it for "
            f"{found[0]}"
        )
    return wanted or found[0]


def why_not() -> str:
    """Return why there is no core here, as a reason for a message."""
    if _core is not None:
        return f"{VARIABLE}=0 turns it off"
    try:
        with open(os.path.join(os.path.dirname(__file__), "_native.txt"), encoding="utf-8") as stream:
            return stream.read(500).strip()
    except OSError:
        return _why_not


def float_mode() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return functions that give and set MXCSR of the calling thread; None without a core, or on no x86-64."""
    if not hasattr(_core, "float_mode"):
        return None
    return _core.float_mode, _core.set_float_mode


class LoadedProgram:
    """A program ready to run: (rows, *row) float32 to its outputs, the same bits whatever the batch."""

    def __init__(self, program: Program) -> None:
        """Check the program, and keep its arrays.

        Raises:
            ProviderError: there is no core here.
        """
        kind = vectors()
        if kind is None:
            raise ProviderError(f"aetool's core is not here: {why_not()}")
        self.row, self.outputs, self.vectors = program.row, program.outputs, kind
        self._plan = _core.Plan(
            kind,
            program.steps,
            program.floats.data,
            program.halves.data,
            program.indexes,
            math.prod(program.row),
            program.sizes,
            program.work,
            program.second,
        )

    def run(
        self,
        rows: NDArray[np.float32],
        outputs: Sequence[NDArray[np.float32] | None],
        second: NDArray[np.float32] | None = None,
    ) -> None:
        """Compute rows, (rows, *row), into an array for each output, or None; other threads run meanwhile.

        `second` is the second input, (rows, ...), of a program that has one.
        """
        self._plan.run(rows, tuple(outputs), second)

    def caller(self, output: int, most: int, slow: Call, more: Call) -> Call:
        """Return a function (data, out=None) -> the output's array, for up to `most` rows of float32.

        It holds the interpreter's lock. More rows go to `more` as they are; whatever else, `out` included, to
        `slow`.
        """
        _, shape, decides = self.outputs[output]
        kind: np.dtype[Any] = np.dtype(np.bool_ if decides else np.float32)
        empty = np.zeros((min(most, MOST_FEW), *shape), kind)
        single = np.zeros(shape, kind)
        few = (single.copy, *(empty[: rows + 1].copy for rows in range(len(empty))))
        found: Call = _core.Caller(
            self._plan, output, self.row, few, decides, shape == (), np.ndarray, slow, more
        ).call
        return found
