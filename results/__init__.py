"""What was measured. Importing it loads neither pandas nor torch.

r = results.load("runs/quick")
print(r.compare("gift", "grpo"))
print(r.table().text())
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .papers import published
    from .records import SchemaError
    from .runs import Results, load

__all__ = ["Results", "SchemaError", "load", "published"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import papers, records, runs

    return next(getattr(home, name) for home in (runs, papers, records) if hasattr(home, name))
