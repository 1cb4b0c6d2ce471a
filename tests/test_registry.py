"""Names of settings find what they stand for, and unknown ones are one line."""

from __future__ import annotations

import pytest

from xecgnn.registry import Registry


def test_entries_come_in_their_order_and_ours_are_imported_when_asked_for() -> None:
    registry: Registry[type] = Registry("thing", {"late": "a_late_module"})

    @registry.register("mine")
    class Mine: ...

    assert (list(registry), len(registry), "late" in registry) == (["late", "mine"], 2, True)
    assert registry["mine"] is Mine
    assert registry.loaded() == {"mine": Mine}
    with pytest.raises(ModuleNotFoundError):
        registry["late"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    registry: Registry[type] = Registry("thing", {"a": "x", "b": "y"})
    with pytest.raises(ValueError, match="unknown thing 'c'; known: a, b"):
        registry["c"]


def test_a_name_is_taken_once_but_a_module_may_be_read_again() -> None:
    registry: Registry[type] = Registry("thing", {"a": "another.module"})
    with pytest.raises(ValueError, match=r"thing 'a' of .*: another\.module has one of that name"):
        registry.register("a")(int)
    registry.register("b")(type("B", (), {"__module__": "mine"}))
    again = registry.register("b")(type("B", (), {"__module__": "mine"}))
    assert registry["b"] is again
