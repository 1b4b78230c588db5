"""What a run and a suite are: recipes read from TOML and checked before anything is spent."""

from .checks import explaining
from .errors import ConfigError
from .plugins import installed_rewards
from .recipe import build_suite, override, read_recipe, recipe_path, recipes, resolved
from .sections import Backend, Correct, Decoding, Hardware, Lora, Model, Phase, RunConfig, Suite

__all__ = [
    "Backend", "ConfigError", "Correct", "Decoding", "Hardware", "Lora", "Model", "Phase",
    "RunConfig", "Suite", "build_suite", "explaining", "installed_rewards", "override",
    "read_recipe", "recipe_path", "recipes", "resolved",
]  # fmt: skip
