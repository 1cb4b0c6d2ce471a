"""Public names of a package that are imported when they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562) whose public `names` are in the given modules below it.

    A module elsewhere is named as in a relative import: `.elsewhere` is beside the package.

    Importing the package, or one of its light modules, then costs nothing that is not used.
    """

    def find(name: str) -> Any:
        if name not in names:
            known = ", ".join(sorted(names))
            raise AttributeError(f"module {package!r} has no attribute {name!r}; public names: {known}")
        value = getattr(import_module(f".{names[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: sorted(names)
