"""What was measured. Importing it loads no pandas yet.

r = results.load("runs/quick")
print(r.compare("gift", "grpo"))
print(r.table().text())
"""

from .load import Results, load
from .papers import published
from .records import SchemaError

__all__ = ["Results", "SchemaError", "load", "published"]
