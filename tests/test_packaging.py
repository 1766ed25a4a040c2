"""What a wheel holds: every package of the tree, and every data file that the code reads."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "rlnet_bench").rglob("*.py")
        if path.name == "__init__.py"
    }
    assert listed == found | {"rlnet_bench.baselines", "rlnet_bench.suites"}


def test_the_lock_pins_torch_for_every_machine() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert "torch==2.13.0" in lines
    assert all("==" in line for line in lines if line and not line.startswith("#"))
    assert not any("hash" in line or "+cpu" in line for line in lines)


@pytest.mark.slow
def test_a_wheel_is_complete(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for source, target in (
        ("rlnet_bench", "rlnet_bench"),
        ("baselines", "rlnet_bench/baselines"),
        ("suites", "rlnet_bench/suites"),
    ):
        for path in (ROOT / source).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                assert f"{target}/{path.relative_to(ROOT / source)}" in names, path
