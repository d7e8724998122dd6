"""`aetool` and `python -m aetool`: a sign of life, then the command line."""

import gc
import os
import sys
from pathlib import Path

_OBJECTS = 20_000
"""New objects after which Python looks for garbage. After 700, as it does by itself, it would look through the
half million that torch's imports and an export make and keep so often that an export takes a quarter longer."""


def main() -> None:
    """Run the command line; its imports take a moment, and a terminal shows that it starts."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    gc.set_threshold(_OBJECTS)
    silent = {"-q", "--quiet"} & set(sys.argv) or "_AETOOL_COMPLETE" in os.environ
    shown = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not silent
    try:
        _write("aetool starts" * shown)
        from aetool.cli import main as command_line  # noqa: PLC0415

        _write("\r\x1b[2K" * shown)
        command_line(prog_name="aetool")
    except KeyboardInterrupt:  # before the command line could catch it
        _write("\r\x1b[2K" * shown + "Interrupted.\n")
        sys.exit(130)
    finally:
        gc.freeze()  # the process ends: to look for garbage among torch's objects would take a second


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
