"""What a wheel holds: every package of the tree, and every data file that the code reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

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


def _wheel(folder: Path) -> Path:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, capture_output=True, cwd=folder
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_metadata_agree() -> None:
    """pyproject.toml, CITATION.cff and CHANGELOG.md name one version and one licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"\n## {project['version']} " in (ROOT / "CHANGELOG.md").read_text()
    tested = {line.rsplit(" ")[-1] for line in project["classifiers"] if "Python :: 3." in line}
    assert tested == {"3.11", "3.12", "3.13"} and project["requires-python"] == ">=3.11"


@pytest.mark.slow
def test_a_wheel_is_complete(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    for source, target in (
        ("rlnet_bench", "rlnet_bench"),
        ("baselines", "rlnet_bench/baselines"),
        ("suites", "rlnet_bench/suites"),
    ):
        for path in (ROOT / source).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                assert f"{target}/{path.relative_to(ROOT / source)}" in names, path


@pytest.mark.slow
@pytest.mark.minutes
def test_the_wheel_alone_plans_trains_and_reports(tmp_path: Path) -> None:
    """In an empty environment with no extra, outside of the source tree."""
    wheel, here = _wheel(tmp_path), tmp_path / "here"
    here.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    env = {"PATH": f"{tmp_path / 'empty' / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    env |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}

    def said(*words: str) -> str:
        done = subprocess.run(words, cwd=here, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    said("python", "-m", "pip", "install", "--quiet", str(wheel), "-c", str(ROOT / "requirements.lock"))
    installed = {line.split("==")[0] for line in said("python", "-m", "pip", "freeze").splitlines()}
    assert "torch" in installed and not {"vmas", "mpe2", "lbforaging", "pettingzoo", "pytest"} & installed
    where = said("python", "-c", "import rlnet_bench; print(rlnet_bench.__file__)")
    assert str(tmp_path / "empty") in where
    assert "ippo" in said("rlnet-bench", "plan", "quick")
    small = ["--set", "budget.frames=3200", "--set", "evaluation.absolute_episodes=8", "--seeds", "2"]
    said("rlnet-bench", "run", "quick", *small)
    assert "\n| mappo |" in said("rlnet-bench", "table", "--format", "markdown")
    said("rlnet-bench", "report")
    assert "</html>" in (here / "quick-report" / "index.html").read_text()
