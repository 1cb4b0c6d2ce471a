"""Things that settings name: tasks and networks; ours and those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Name -> class or function, in the order of their registration.

    Our own are named with their modules, which are imported, and register them, when one is asked for.

    Args:
        kind: what an entry is, for errors.
        ours: name -> module.
    """

    def __init__(self, kind: str, ours: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._modules = dict(ours or {})
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that gives a class or function its name here.

        Raises:
            ValueError: another module has taken the name.
        """

        def add(entry: T) -> T:
            module = self._modules.setdefault(name, entry.__module__)
            if module != entry.__module__:
                raise ValueError(f"{self.kind} {name!r} of {entry.__module__}: {module} has one of that name")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._modules:
            raise ValueError(f"unknown {self.kind} {name!r}; known: {', '.join(self)}")
        if name not in self._entries:
            import_module(self._modules[name])
        return self._entries[name]

    def loaded(self) -> dict[str, T]:
        """Those that are registered already; nothing is imported."""
        return dict(self._entries)

    def items(self) -> Iterator[tuple[str, T]]:
        return ((name, self[name]) for name in list(self))

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
