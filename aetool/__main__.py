"""`aetool` and `python -m aetool`: a sign of life, then the command line."""

import gc
import os
import sys


def main() -> None:
    """Run the command line; its imports take a moment, and a terminal shows that it starts."""
    silent = {"-q", "--quiet"} & set(sys.argv) or "_AETOOL_COMPLETE" in os.environ
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not silent
    if shown:
        _write("aetool starts")
    from aetool.cli import main as command_line  # noqa: PLC0415

    if shown:
        _write("\r\x1b[2K")
    try:
        command_line(prog_name="aetool")
    finally:
        gc.freeze()  # the process ends: to look for garbage among torch's objects would take a second


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
