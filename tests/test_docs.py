"""Documented commands run as written, from an empty directory.

A page is a script, read from top to bottom in one directory of its own: a block of Python, YAML or CSV whose first
line is the comment ``# NAME`` is the file NAME, and the commands of bash blocks are run. ``rlnet-bench run`` gets a
tiny budget appended; nothing else is changed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlnet_bench as rb
from rlnet_bench.runs.suite import load_suite

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{name}.md" for name in (
    "comparable", "core", "environments", "extending", "own-learner", "paper-table", "submitting", "suites",
    "team-sizes", "tuning",
))]  # fmt: skip
TINY = "--set budget.frames=3200 --set evaluation.absolute_episodes=8 --seeds 2"
OURS = ("rlnet-bench ", "python ", "cat ", "mkdir ")  # others install, or set a machine up
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]{2,}\b|<[a-z ]+>")  # RUN_DIR, STORE, <run id>
# Endless, or measured elsewhere: the reason stands beside each.
NOT_RUN = {"rlnet-bench status --watch": "ends with the suite, shown by the status tests"}


def steps(page: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each file that a page asks for and ("", command) of each command, in the order of the page."""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M):
        if language == "bash":
            yield from (("", command) for command in _commands(text))
        elif named := re.match(r"# ([\w-]+\.(?:py|yaml))\n", text):
            yield named[1], text


def _commands(block: str) -> Iterator[str]:
    """Whole commands of a bash block: comments cut off, continued lines joined, here-documents kept."""
    lines = iter(block.splitlines())
    for line in lines:
        command = line.split("  #")[0].strip()
        while command.endswith("\\"):
            command = f"{command[:-1].rstrip()} {next(lines).split('  #')[0].strip()}"
        if here := re.search(r"<<'(\w+)'$", command):
            while not command.endswith(f"\n{here[1]}"):
                command += f"\n{next(lines)}"
        elif PLACEHOLDER.search(command):
            continue
        if command.startswith(OURS) and command not in NOT_RUN:
            yield command


def commands(page: str) -> list[str]:
    """The commands of a page that are run."""
    return [text for name, text in steps(page) if not name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_run_as_written(page: str, tmp_path: Path) -> None:
    here, tools = tmp_path / "here", tmp_path / "bin"
    here.mkdir()
    tools.mkdir()
    python = Path(sys.executable)
    tiny = f'[ "$1" = run ] && set -- "$@" {TINY}\n'
    for tool, line in (("python", f"exec {python}"), ("rlnet-bench", f"{tiny}exec {python.parent}/rlnet-bench")):
        (tools / tool).write_text(f'#!/bin/sh\n{line} "$@"\n')
        (tools / tool).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    for name, text in steps(page):
        if name:
            (here / name).write_text(text)
            continue
        done = subprocess.run(["bash", "-c", text], cwd=here, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_every_page_has_commands() -> None:
    assert all(commands(page) for page in PAGES)


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


def test_links_between_pages_resolve() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: no {target}"


def test_example_runs() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "python_api.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "actions" in done.stdout


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """As plain Python, on a smaller budget; what is stored in it was made by one run of the same cells."""
    cells = [c for c in json.loads((ROOT / "examples" / "quickstart.ipynb").read_text())["cells"] if "outputs" in c]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    assert all(c["outputs"] for c in cells) and "error" not in {o["output_type"] for c in cells for o in c["outputs"]}
    script = "\n".join("".join(c["source"]) for c in cells)
    for shown, tiny in (("frames=40000", "frames=3200"), ("every=10000", "every=1600"), ("seeds=3", "seeds=2")):
        assert script.count(shown) == 1
        script = script.replace(shown, tiny)
    script = script.replace("small = [", 'small = ["evaluation.absolute_episodes=8", ')
    env = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| zoo/tag-3ppo |" in done.stdout and (tmp_path / "quickstart-report" / "index.html").exists()


@pytest.mark.slow
def test_the_api_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "docs" / "api.py", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    page = (tmp_path / "rlnet_bench.html").read_text()
    assert all(f'id="{name}"' in page for name in rb.__all__ if name != "plots")  # a module, with a page of its own
    assert ":class:" not in page
