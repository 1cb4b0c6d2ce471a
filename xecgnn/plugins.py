"""Python files of the user that register a task, a network or a picture of their own.

A file is imported because the user names it, in a config, on a command line or in a call; never because a checkpoint
or the folder of a run does. These keep which file it was, and refuse another one.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from xecgnn.settings import Settings, expanded

__all__ = ["Plugin", "PluginSettings", "check_plugins", "load_plugins", "loaded_paths"]

SHOWN = 12  # digits of a hash in messages


@dataclass(frozen=True)
class Plugin:
    """One file: where it lies, its `__version__` and the SHA-256 of its text; where that is given, no other will do."""

    path: str
    version: str | None = None
    sha256: str | None = None


def _as_plugins(value: Any) -> Any:
    """A path stands for a plugin, and one for a list of one."""
    items = value if isinstance(value, list | tuple) else [value]
    return [{"path": expanded(str(item))} if isinstance(item, str | Path) else item for item in items]


Plugins = Annotated[list[Plugin], BeforeValidator(_as_plugins)]
PLUGINS = TypeAdapter(Plugins)

_loaded: dict[str, Plugin] = {}  # absolute path -> what was imported from there


class PluginSettings(Settings):
    """Settings of what may use plugins."""

    plugins: Plugins = Field([], description="Python files that add tasks, networks or pictures")


def load_plugins(plugins: Any) -> list[Plugin]:
    """Import the files that are named by their paths or as settings, each once; returns which these were.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not the one with the given hash.
    """
    return [_load(plugin) for plugin in PLUGINS.validate_python(plugins)]


def loaded_paths() -> list[str]:
    """Absolute paths of the plugins that this process has imported."""
    return [*_loaded]


def check_plugins(recorded: Iterable[Mapping[str, Any]], owner: str | Path) -> None:
    """Whether the plugins that a checkpoint or a run (`owner`) was made with have been imported by this process.

    Raises:
        ValueError: one was not, or from another text.
    """
    for wanted in recorded:
        if any(plugin.sha256 == wanted["sha256"] for plugin in _loaded.values()):
            continue
        path = Path(wanted["path"])
        for plugin in _loaded.values():
            if Path(plugin.path).name == path.name:
                expected, found = wanted["sha256"][:SHOWN], str(plugin.sha256)[:SHOWN]
                raise ValueError(f"{owner}: made with {path.name} of SHA-256 {expected}, {plugin.path} has {found}")
        raise ValueError(f"{owner}: made with the plugin {path}; name it with --plugins, or plugins=[...] in a call")


def _load(plugin: Plugin) -> Plugin:
    path = Path(plugin.path).absolute()
    if not path.is_file():
        raise FileNotFoundError(f"plugin {plugin.path!r} not found")
    text = path.read_bytes()
    found = hashlib.sha256(text).hexdigest()
    if plugin.sha256 not in (None, found):
        expected = str(plugin.sha256)[:SHOWN]
        raise ValueError(f"plugin {plugin.path}: expected a file of SHA-256 {expected}, found {found[:SHOWN]}")
    name = str(path)  # no module of this name can be meant by an import
    if name not in _loaded or _loaded[name].sha256 != found:
        module = sys.modules[name] = ModuleType(name)
        module.__file__ = name
        exec(compile(text, name, "exec"), vars(module))
        version = getattr(module, "__version__", None)
        _loaded[name] = Plugin(name, version and str(version), found)
    return _loaded[name]
