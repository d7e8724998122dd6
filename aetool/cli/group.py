"""The root command: order of the help, and the one place where errors become messages and exit codes."""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import aetool
from aetool.cli.output import fail
from aetool.errors import AetoolError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class AetoolGroup(click.Group):
    """Commands in the order in which they are used; a known failure is one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        extra["standalone_mode"] = False
        try:
            code = super().main(args=args, prog_name=prog_name, **extra)
        except AetoolError as error:
            fail(error)
            sys.exit(FAILED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=AetoolGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: aetool demo",
)
@click.version_option(aetool.__version__, prog_name="aetool")
def root() -> None:
    """Take an autoencoder from PyTorch to the places where it runs.

    \b
    aetool train table.csv -o checkpoint          train on the rows of a table
    aetool export checkpoint -o exported/model    to ONNX, proven equal to PyTorch
    aetool score exported/model new.csv           run it, without PyTorch
    """
