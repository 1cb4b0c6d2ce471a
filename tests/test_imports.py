"""Imports go one way, along the path of an event: a backward import fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xecgnn

PACKAGE = Path(xecgnn.__file__).parent
# Components in the order in which an event meets them; `data` and `nn` are siblings and do not know each other. All
# `config` modules, which lie beside what they are settings of, are one component: they need nothing but each other.
ORDER = ["lazy", "arrays", "registry", "schema", "names", "lock", "output", "signals", "progress", "estimate", "table"]
ORDER += ["provenance", "settings", "plugins", "config", "workers", "directions", "detector", "data", "simulation"]
ORDER += ["nn", "tasks", "models", "training"]
ORDER += ["export", "inference", "evaluation", "cli"]
SIBLINGS = {("nn", "data"), ("nn", "simulation")}


def component(module: str) -> str:
    """The part of the package that a module (`xecgnn.nn.block`) belongs to."""
    parts = module.split(".")
    return "config" if parts[2:3] == ["config"] else parts[1]


def imported_components(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        found |= {component(m) for m in modules if m.startswith("xecgnn.")}
    return found & set(ORDER)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    if path.name == "__init__.py":
        return
    own = component(".".join(path.with_suffix("").relative_to(PACKAGE.parent).parts))
    allowed = {name for name in ORDER[: ORDER.index(own) + 1] if (own, name) not in SIBLINGS}
    backward = imported_components(path) - allowed
    assert not backward, f"{own} imports {sorted(backward)}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_heavy_libraries_are_imported_where_used() -> None:
    code = (
        "import sys, xecgnn, xecgnn.evaluation; xecgnn.build_model, xecgnn.load_detector, xecgnn.build_batch;"
        "print([m for m in ('mlflow', 'uproot', 'matplotlib', 'onnx', 'plotly') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_simulation_needs_no_network() -> None:
    """Its worker processes start in a second: torch would take five."""
    code = "import sys, xecgnn.simulation.response, xecgnn.simulation.write; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
