"""How many numbers may be held at one time, in whatever order nodes run that depend on each other."""

from collections.abc import Iterable

_CANDIDATES = 64
"""Buffers that a value may take over: the youngest. A bound with fewer shared is larger, and holds too."""


class Held:
    """Buffers of values, each for one value after another.

    A value takes the buffer of another one only where all nodes that read that one must be over before its own
    node begins. So the buffers' sizes together bound what is held, though onnxruntime chooses the order of nodes.
    """

    def __init__(self) -> None:
        self._before: list[int] = []
        """For each node the nodes that must be over before it, one bit each."""
        self._sizes: list[int] = []
        self._until: list[int] = []
        """For each buffer the nodes that must be over before it is free; -1 for never."""
        self.numbers = 0
        """Of all buffers."""

    def begin(self, makers: Iterable[int]) -> None:
        """The next node, which reads what these nodes make."""
        before = 0
        for maker in makers:
            before |= self._before[maker] | 1 << maker
        self._before.append(before)

    def hold(self, size: int, readers: int) -> None:
        """A value of the last node, for these nodes, one bit each, and until it is over itself; -1 for ever."""
        node = len(self._before) - 1
        before = self._before[node]
        sizes, until = self._sizes, self._until
        place, best = len(sizes), -1
        for each in range(max(0, len(sizes) - _CANDIDATES), len(sizes)):
            # The tightest that is large enough, else the largest.
            if until[each] & ~before == 0 and (sizes[each] > best if best < size else size <= sizes[each] < best):
                place, best = each, sizes[each]
        if place == len(sizes):
            sizes.append(0)
            until.append(0)
        more = max(0, size - self._sizes[place])
        self._sizes[place] += more
        self.numbers += more
        self._until[place] = readers | 1 << node
