"""The command `evenbench`; each module holds one family of its verbs."""

import logging

import typer

from . import foreign, look, run, tools

app = typer.Typer(
    name="evenbench",
    help="Honest comparison of the objectives that align language models.\n\n"
    "Start with `evenbench run quick`, then `evenbench report runs/quick`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for family in (run, look, foreign, tools):
    app.add_typer(family.app)


def main() -> None:
    # the commands themselves report what it warns about
    logging.getLogger("evenbench.tasks").setLevel(logging.ERROR)
    app()
