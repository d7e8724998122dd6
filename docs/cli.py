"""Write docs/cli.md, the reference of every command, from the commands' own help.

python docs/cli.py
"""

from pathlib import Path

import click

from aetool.cli import main

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# The command line

Made from the commands' own help by `python docs/cli.py`.

Results go to stdout, everything else to stderr. With `--json` a command prints exactly one JSON document, also
when it fails (`{"error": ..., "type": ...}`); numbers that JSON lacks are the texts `"NaN"`, `"Infinity"` and
`"-Infinity"`. The exit code is 0 when done, 1 when something failed, 2 for a wrong command line, 3 when
`aetool drift` finds drift, 130 when interrupted.

Colour and progress are for terminals only: `NO_COLOR=1` and `--quiet` turn them off there too. On a terminal
`aetool score` shows the most anomalous rows as a table; a pipe gets CSV.
"""


def reference() -> str:
    """The whole page."""
    settings = {**main.context_settings, "terminal_width": 80, "max_content_width": 80}
    sections = helps(main, "aetool", None, settings)
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in sections)


def helps(command, name, parent, settings):
    """(path, help) of a command, then of those in it."""
    context = click.Context(command, parent=parent, info_name=name, **settings)
    yield context.command_path, command.get_help(context)
    for inner in getattr(command, "commands", {}).values():
        yield from helps(inner, inner.name, context, settings)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
