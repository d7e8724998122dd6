"""Write docs/cli.md, the reference of every command, from the commands' own help.

python docs/cli.py
"""

import html
from pathlib import Path

import click

from aetool.cli import main

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# The command line

Made from the commands' own help by `python docs/cli.py`.

Results go to stdout, everything else to stderr. With `--json` a command prints exactly one JSON document, also
when it fails (`{"error": ..., "type": ...}`); numbers that JSON lacks are the strings `"NaN"`, `"Infinity"` and
`"-Infinity"`. Colour and progress are for terminals only; `NO_COLOR=1` and `--quiet` turn them off there too. On a
terminal `aetool score` shows the most anomalous rows as a table; a pipe gets CSV.

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | failure |
| 2 | wrong command line |
| 3 | no: `drift` found drift, `compare` a condition not met, `agent run --once` refused the version |
| 130 | interrupted |

Every command has these options:

| option | meaning |
| --- | --- |
| `-q`, `--quiet` | Show no progress. |
| `--json` | Print one JSON document. |
| `-h`, `--help` | Show the help and exit. |
"""
OF_EVERY_COMMAND = {"quiet", "as_json", "help"}


def reference() -> str:
    """The whole page."""
    settings = {**main.context_settings, "terminal_width": 80, "max_content_width": 80}
    return HEAD + "".join(sections(main, "aetool", None, settings))


def sections(command, name, parent, settings):
    """The section of a command, then of those in it."""
    context = click.Context(command, parent=parent, info_name=name, **settings)
    text = command.get_help(context)
    if not isinstance(command, click.Group):
        text = text.partition("\nOptions:\n")[0]
    yield f"\n## {context.command_path}\n\n```text\n{text.rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from sections(inner, inner.name, context, settings)
    elif rows := [row(context, option) for option in command.params if is_listed(option)]:
        yield "\n| option | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def is_listed(option):
    """Whether a parameter is an option of its command alone."""
    return isinstance(option, click.Option) and option.name not in OF_EVERY_COMMAND and not option.hidden


def row(context, option):
    """A row of the table of options, which a link leads to: cli.md#train-label."""
    written, meaning = (
        html.escape(text, quote=False).replace("|", "&#124;") for text in option.get_help_record(context)
    )
    anchor = "-".join([*context.command_path.split()[1:], max(option.opts, key=len).lstrip("-")])
    return f'| <a id="{anchor}" href="#{anchor}"><code>{written}</code></a> | {plain(meaning)} |'


def plain(text):
    """Text in which nothing is Markdown."""
    return "".join(f"\\{letter}" if letter in "*_[]`" else letter for letter in text)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
