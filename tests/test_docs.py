"""Documented commands run as written, from an empty directory.

Commands that train get a tiny budget appended; nothing else is changed. Blocks are run in page order in
one directory per page, so that what a page says first is there for what it says next.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rlnet_bench.runs.suite import load_suite

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/suites.md", "docs/environments.md", "docs/own-learner.md"]
TINY = ["--set", "budget.frames=3200", "--set", "evaluation.absolute_episodes=8", "--seeds", "2"]
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]{2,}\b|<[a-z ]+>")  # RUN_DIR, STORE, <run id>
# Endless, or measured elsewhere: the reason stands beside each.
NOT_RUN = {"rlnet-bench status --watch": "ends with the suite, shown by the status tests"}


def commands(page: str) -> list[str]:
    """The rlnet-bench lines of a page's bash blocks, comments cut off."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.S):
        for line in block.splitlines():
            command = line.split("  #")[0].strip()
            if command.startswith("rlnet-bench") and command not in NOT_RUN and not PLACEHOLDER.search(command):
                found.append(command)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_run_as_written(page: str, tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(_python_block("docs/own-learner.md"))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands(page):
        words = shlex.split(command)
        if words[1] == "run":
            words += TINY
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_every_page_has_commands() -> None:
    assert commands("docs/suites.md") and commands("docs/environments.md") and commands("docs/own-learner.md")


def test_the_readme_s_table_is_of_the_quick_suite_as_it_is() -> None:
    text, suite = (ROOT / "README.md").read_text(), load_suite("quick")
    [_, *rows] = re.findall(r"^\| ([\w/-]+) \| ", text, re.M)  # the first is the head
    assert sorted(rows) == sorted(m.name for m in suite.methods)
    assert f"after {suite.budget.of(suite.tasks[0]):,} frames" in text


def test_every_change_says_what_it_touches() -> None:
    for line in (ROOT / "CHANGELOG.md").read_text().splitlines():
        if line.startswith("* "):
            tags = re.match(r"\* \[([a-z, ]+)\] ", line)
            assert tags and set(tags[1].split(", ")) <= {"code", "docs", "rules", "results"}, f"no tag: {line[:70]}"


def _python_block(page: str) -> str:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)[0]


def test_links_between_pages_resolve() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: no {target}"


def test_example_runs() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "python_api.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "actions" in done.stdout
