"""A wheel works outside the checkout: it carries the code, the detectors and the configs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel folder")  # with a space, as on many machines
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
    ]
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    for name in ("xecgnn", "geometry", "configs"):
        shutil.copytree(CHECKOUT / name, source / name, symlinks=True)
    subprocess.run([*pip, str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    zipfile.ZipFile(wheel).extractall(target)
    return target


def test_wheel_carries_data_and_nothing_else_at_top_level(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"xecgnn"}
    for folder in ("geometry", "configs"):
        shipped = {path.name for path in (CHECKOUT / folder).glob("*.yaml")}
        assert shipped
        assert {path.name for path in (installed / "xecgnn" / folder).glob("*.yaml")} == shipped


def test_installed_package_builds_a_model(installed: Path, tmp_path: Path) -> None:
    code = (
        "import xecgnn, sys; assert xecgnn.__file__.startswith(sys.argv[1]), xecgnn.__file__;"
        "model = xecgnn.build_model('configs/angle.yaml', {'detector': 'mini', 'model.encoder_dim': 32});"
        "print(model.detector.name)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(installed)], cwd=tmp_path, env={"PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.stdout.strip() == "mini", out.stderr
