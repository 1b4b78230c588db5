"""What a run and a suite are: recipes read from TOML and checked before anything is spent."""

from .recipe import *  # noqa: F403
