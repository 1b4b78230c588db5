"""What is asked and how it is graded. `tasks.get("arithmetic", pool=512)`, `tasks.names()`."""

from .base import Example, Grade, Task, TaskError, content_id, file_hash
from .registry import entry, get, names, register

__all__ = [
    "Example", "Grade", "Task", "TaskError", "content_id", "entry", "file_hash", "get", "names",
    "register",
]  # fmt: skip
