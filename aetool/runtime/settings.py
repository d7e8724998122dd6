"""Settings that change the speed of graphs on this machine, and not a bit of their results."""

from typing import NamedTuple

from aetool.errors import InputError

MAX_THREADS = 1024
_LARGEST = {
    "direct_threads": MAX_THREADS,
    "workers": MAX_THREADS,
    "chunk_rows": 1 << 20,
    "spin_us": 1_000_000,
    "native_rows": 1 << 20,
}


class _Values(NamedTuple):
    direct_threads: int | None = None
    """Threads inside one run of a few rows; None: a few, all cores for a large graph."""
    workers: int | None = None
    """Threads that share many rows; None: as many as the process may keep busy."""
    chunk_rows: int | None = None
    """Rows of one chunk at most, where they are many; None: what fits a core's cache."""
    spin_us: int = 100
    """Microseconds for which idle threads keep a core, waiting for the next node or row; onnxruntime's own
    default is longer."""
    memory_arena: bool = True
    """True: onnxruntime keeps the memory that a run took for the next one; False gives it back, for devices that
    have little, and takes longer."""
    native_rows: int | None = None
    """Rows up to which aetool's own core answers where the provider is "auto"; 0: never; None: a few."""


class RunSettings(_Values):
    """Settings that `aetool tune` chooses besides provider and precision. The defaults suit most machines.

    Raises:
        InputError: a value is no integer, or too small or too large.
    """

    __slots__ = ()

    def __new__(
        cls,
        direct_threads: int | None = None,
        workers: int | None = None,
        chunk_rows: int | None = None,
        spin_us: int = 100,
        memory_arena: bool = True,
        native_rows: int | None = None,
    ) -> "RunSettings":
        """Check every value."""
        settings = super().__new__(cls, direct_threads, workers, chunk_rows, spin_us, memory_arena, native_rows)
        for name, largest in _LARGEST.items():
            value = getattr(settings, name)
            least = 0 if name in ("spin_us", "native_rows") else 1
            if value is None and cls._field_defaults[name] is None:
                continue
            if type(value) is not int or not least <= value <= largest:
                raise InputError(
                    f"{name}: expected an integer of {least} to {largest:,}, found {value!r}; leave it out "
                    "for the default"
                )
        if type(memory_arena) is not bool:
            raise InputError(f"memory_arena: expected true or false, found {memory_arena!r}")
        return settings

    @property
    def words(self) -> list[str]:
        """Return the settings that differ from the default, for people: `4 threads`, `512 rows a chunk`."""
        found = []
        for value, thing in ((self.direct_threads, "thread"), (self.workers, "worker")):
            if value is not None:
                found.append(f"{value} {thing}{'s' * (value > 1)}")
        if self.chunk_rows is not None:
            found.append(f"{self.chunk_rows:,} rows a chunk")
        if self.spin_us != DEFAULTS.spin_us:
            found.append(f"spinning {self.spin_us:,} us" if self.spin_us else "no spinning")
        if not self.memory_arena:
            found.append("no memory arena")
        if self.native_rows is not None:
            found.append(
                f"up to {self.native_rows:,} rows on the core" if self.native_rows else "without the core"
            )
        return found


DEFAULTS = RunSettings()


class RunConfig(NamedTuple):
    """Provider, precision and settings of a session."""

    provider: str
    """A name of PROVIDERS, or "auto"."""
    precision: str
    settings: RunSettings

    @property
    def words(self) -> str:
        """Return the configuration for people: `int8 on cpu, 512 rows a chunk`."""
        return ", ".join([f"{self.precision} on {self.provider}", *self.settings.words])
