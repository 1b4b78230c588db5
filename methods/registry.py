"""The names of objectives: one file with `@register("name")` makes a method known."""

from tasks.registry import Registry

from .base import Method

METHODS = Registry("method", Method, "methods", complete=True)
entry, get, names, register = METHODS.entry, METHODS.get, METHODS.names, METHODS.register
