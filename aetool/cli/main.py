"""Groups of commands, and the root: the one place where errors become messages and exit codes."""

import io
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.text import Text

import aetool
from aetool.cli._next_steps import next_steps
from aetool.cli._output import JSON_OPTION, commands, console, fail, print_json, say
from aetool.errors import AetoolError
from aetool.suggest import hint

FAILED, USAGE, INTERRUPTED = 1, 2, 130
DRIFTED = 3
"""Exit code of `aetool drift` when there is drift."""
NOT_CURRENT = 3
"""Exit code of `aetool agent --once` when the channel's version was refused or taken back."""
UNMET = 3
"""Exit code of `aetool compare` when a condition of --require is not met."""


class _HelpFormatter(click.HelpFormatter):
    """Help with styles on a terminal: headings and names bold, commands to copy bright, explanations dim."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and explanations."""
        super().write_dl([(_styled(name, bold=True), text) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return the text."""
        text = re.sub(
            r"^(?:Usage:|(?:  )?\w+:$)",
            lambda found: _styled(found[0], bold=True),
            super().getvalue(),
            flags=re.MULTILINE,
        )
        return re.sub(
            r"^( +aetool .*?)(   .*)?$",
            lambda found: _styled(found[1], fg="cyan", bold=True) + _styled(found[2] or "", dim=True),
            text,
            flags=re.MULTILINE,
        )


def _styled(text: str, **style: Any) -> str:
    on_terminal = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, **style) if text and on_terminal else text


class HelpContext(click.Context):
    """Context of a command whose help has styles."""

    formatter_class = _HelpFormatter


class CommandGroup(click.Group):
    """Group of commands that its help lists under headings.

    Args:
        default: name of the command that is meant where none is named.
    """

    context_class = HelpContext

    def __init__(self, *args: Any, default: str | None = None, **settings: Any) -> None:
        """Make a group without commands."""
        super().__init__(*args, **settings)
        self.default = default
        self.sections: dict[str, Sequence[click.Command]] = {}

    def add_section(self, heading: str, *commands: click.Command) -> None:
        """Add commands, listed under a heading in the order of their use."""
        self.sections[heading] = commands
        for command in commands:
            command.context_class = HelpContext
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in order of use."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every section, their summaries one below the other."""
        width = max(map(len, self.commands))
        for heading, inner in self.sections.items():
            with formatter.section(heading):
                names = [(command.name or "").ljust(width) for command in inner]
                texts = [command.get_short_help_str(limit=1000) for command in inner]  # wrapped, not cut short
                formatter.write_dl(list(zip(names, texts, strict=True)))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before what is no command, and not a mistyped one either."""
        known = (*self.commands, *ctx.help_option_names)
        if self.default and args and args[0] not in known and (Path(args[0]).exists() or not hint(args[0], known)):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error for one that is none names the nearest, in a group all there are."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if ctx.parent is None or getattr(error, "possibilities", None):
                raise
            known = ", ".join(self.commands)
            raise click.UsageError(f"{error.message.rstrip('.')}; choose one of {known}", ctx) from error


class AetoolGroup(CommandGroup):
    """Root group: a known failure is one line and an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command, report its error, and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show must not stop a result
            sys.stdout.reconfigure(errors="replace")
        extra["standalone_mode"] = False
        try:
            # A pipe whose reader has seen enough ends the command quietly, with exit code 1: click sees to that.
            code = super().main(arguments, prog_name, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.message, err=True)
            code = _report(error, error.message, USAGE, arguments)
        except click.UsageError as error:
            message = error.format_message()
            # Our own messages tell what to do; click's do not.
            fail(message, f"See {error.ctx.command_path} --help" if error.ctx and "; " not in message else "")
            code = _report(error, message, USAGE, arguments)
        except (click.Abort, KeyboardInterrupt) as error:
            say("Interrupted.")
            code = _report(error, "interrupted", INTERRUPTED, arguments)
        except (AetoolError, OSError, MemoryError) as error:
            message = _message(error)
            fail(message)
            if "--verbose" in arguments:
                for note in getattr(error, "__notes__", ()):
                    say(note)
            code = _report(error, message, FAILED, arguments)
        sys.exit(code if isinstance(code, int) else 0)


_MORE_MEMORY = "not enough memory; give fewer rows at a time, or close other programs"


def _message(error: AetoolError | OSError | MemoryError) -> str:
    """Return the message of an error; errors that are not aetool's own come from the machine."""
    if isinstance(error, AetoolError):
        return str(error)
    if isinstance(error, MemoryError):
        reason = str(error).strip()
        return f"not enough memory: {reason}" if reason else _MORE_MEMORY
    file = f"{error.filename}: " if error.filename else ""
    return f"{file}{error.strerror or error}; check the path, its permissions and the free space on the disk"


def _report(error: BaseException, message: str, code: int, arguments: Sequence[str]) -> int:
    """Report an error, as a JSON document with --json, and return the exit code."""
    if JSON_OPTION in arguments:
        print_json({"error": message, "type": type(error).__name__})
    return code


@click.group(
    cls=AetoolGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: aetool demo. Every command explains itself: aetool train --help",
)
@click.version_option(aetool.__version__, prog_name="aetool")
@click.pass_context
def root(context: click.Context) -> None:
    """Take an autoencoder from PyTorch to the places where it runs.

    \b
    aetool train table.csv -o checkpoint          train on the rows of a table
    aetool export checkpoint -o exported/model    to ONNX, proven equal to PyTorch
    aetool score exported/model new.csv           run it, without PyTorch
    """
    if context.invoked_subcommand is None:
        steps = [*next_steps(Path()), ("aetool --help", "all commands")]
        console().print(Text("What to do next:", "bold"), commands(steps), sep="\n")
