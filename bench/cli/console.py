"""What the commands print, and how they end when the user's input is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape


def console(errors: bool = False) -> Console:
    """For the terminal as it is now; `path.py:M:` holds no emoji."""
    return Console(emoji=False, stderr=errors, soft_wrap=errors)


def fail(message: str) -> NoReturn:
    """Print the message and end with exit code 2."""
    console(errors=True).print(f"[bold red]error[/] {escape(message)}")
    raise typer.Exit(2)


@contextmanager
def refusing(*errors: type[Exception], where: str = "") -> Iterator[None]:
    """Turn these errors of the block into `fail`, with `where` before the message."""
    try:
        yield
    except errors as error:
        fail(where + str(error.args[0] if isinstance(error, KeyError) else error))


def say(text: str, style: str = "") -> None:
    """Print a line as it stands: no markup, and a path is not broken over two lines."""
    console().print(escape(text), style=style or None, soft_wrap=True)
