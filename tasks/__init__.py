"""What is asked and how it is graded. `tasks.get("arithmetic", pool=512)`, `tasks.names()`."""

from .base import Example, Grade, Task, TaskError, content_id, file_hash
from .registry import Registry

TASKS = Registry("task", Task, "tasks", complete=False)
entry, get, names, register = TASKS.entry, TASKS.get, TASKS.names, TASKS.register

__all__ = [
    "TASKS", "Example", "Grade", "Task", "TaskError", "content_id", "entry", "file_hash", "get",
    "names", "register",
]  # fmt: skip
