"""The two recipes say what exists, the same things, and no address of any registry. Building them needs a daemon."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKER = (ROOT / "containers" / "Dockerfile").read_text()
APPTAINER = (ROOT / "containers" / "rlnet-bench.def").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def test_every_line_of_the_dockerfile_is_an_instruction() -> None:
    words = [line.split()[0] for line in DOCKER.splitlines() if line and not line.startswith("#")]
    assert words[0] == "FROM" and set(words) <= {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"}


def test_every_section_of_the_recipe_is_one_of_apptainer_s() -> None:
    assert APPTAINER.split("%")[0].splitlines()[-3:-1] == ["Bootstrap: docker", f"From: {_base(DOCKER)}"]
    sections = re.findall(r"^%(\w+)", APPTAINER, re.M)
    assert len(set(sections)) == len(sections) and set(sections) <= {
        "files",
        "post",
        "environment",
        "runscript",
        "test",
    }


def _base(dockerfile: str) -> str:
    return re.findall(r"^FROM (\S+)$", dockerfile, re.M)[0]


@pytest.mark.parametrize("text", [DOCKER, APPTAINER], ids=["docker", "apptainer"])
def test_what_is_copied_and_started_exists(text: str) -> None:
    for source in re.findall(r"^COPY (\S+) ", text, re.M) + re.findall(r"^    (\S+) /opt/rlnet_bench$", text, re.M):
        assert (ROOT / source).exists()
    assert set(re.findall(r"(?:ENTRYPOINT \[\"|exec )([\w-]+)", text)) == set(SCRIPTS)
    assert not re.search(r"://|[\w-]+\.(?:io|org|com)\b", text)


def test_both_install_the_same_way() -> None:
    """The commands of the two agree but for line breaks."""
    docker, apptainer = (
        re.findall(r"(?:apt-get install|python -m pip install) [^\n&]*[^\n& ]", text.split("%post")[-1])
        for text in (DOCKER, APPTAINER)
    )
    assert docker == apptainer and "requirements.lock" in docker[1]
