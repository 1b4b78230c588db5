"""What was measured. Importing it loads no pandas yet.

r = results.load("runs/quick")
print(r.compare("gift", "grpo"))
print(r.table().text())
"""

from .papers import published
from .records import SchemaError
from .runs import Results, load

__all__ = ["Results", "SchemaError", "load", "published"]
