"""A file of the user's own is imported because the user names it, and what was made with it needs the same file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xecgnn.plugins import Plugin, check_plugins, load_plugins

TEXT = "__version__ = '3'\nimport builtins\nbuiltins.times_read = getattr(builtins, 'times_read', 0) + 1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    return path


def test_a_file_is_imported_once_and_known_by_its_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    (plugin,) = load_plugins("mine.py")
    before = __import__("builtins").times_read
    assert load_plugins([file, plugin]) == [plugin, plugin]
    assert __import__("builtins").times_read == before
    assert (plugin.path, plugin.version) == (str(file), "3")
    file.write_text(TEXT + "# changed")
    (changed,) = load_plugins(file)
    assert (changed.sha256 != plugin.sha256, __import__("builtins").times_read) == (True, before + 1)


def test_another_file_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"mine.py: expected a file of SHA-256 0123, found \w{12}$"):
        load_plugins([Plugin(str(file), sha256="0123")])
    with pytest.raises(FileNotFoundError, match=r"plugin 'nosuch\.py' not found"):
        load_plugins("nosuch.py")


def test_what_was_made_with_a_plugin_needs_it(file: Path) -> None:
    recorded = {"path": "/elsewhere/mine.py", "version": "3", "sha256": "0" * 64}
    with pytest.raises(ValueError, match=r"^run: made with the plugin /elsewhere/never.py; name it with --plugins"):
        check_plugins([recorded | {"path": "/elsewhere/never.py"}], "run")
    (plugin,) = load_plugins(file)
    check_plugins([recorded | {"sha256": plugin.sha256}], "run")
    with pytest.raises(ValueError, match=rf"^run: made with mine.py of SHA-256 {'0' * 12}, /.*/mine.py has "):
        check_plugins([recorded], "run")


def test_a_task_of_a_plugin_is_among_the_settings(tmp_path: Path) -> None:
    """In a process of its own: a task that is registered stays."""
    (tmp_path / "task.py").write_text(
        "from xecgnn.tasks import TASKS, RegressionTask\n"
        "@TASKS.register('depth')\n"
        "class Depth(RegressionTask):\n    'How deep.'\n    width = 1\n    branch = 'wTruth'\n"
    )
    (tmp_path / "mine.yaml").write_text("plugins: task.py\ntasks: {depth: {enabled: true, loss_fn: mse}}\n")
    for option, found in (("--print-config", "  depth:\n    enabled: true\n    loss_fn: mse"), ("--help", "How deep.")):
        command = [sys.executable, "-m", "xecgnn.cli.train", "mine.yaml", option]
        out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert found in out.stdout
    wrong = subprocess.run([*command[:-1], "--tasks.depth.loss_fn", "no"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.stderr.startswith("error: tasks.depth.loss_fn: should be 'smooth_l1', 'l1'")
