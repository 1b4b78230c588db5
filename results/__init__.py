"""What was measured: load runs, compare methods, make tables. `import results` loads no pandas
yet."""

from .load import Results, SchemaError, load

__all__ = ["Results", "SchemaError", "load"]
