"""What the pages speak of is there: verbs and their options, files, names in the package, methods."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

import rlnet_bench as rb
from rlnet_bench.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
TOP = "rlnet_bench|baselines|suites|tests|docs|examples|results|reports|containers"
INSIDE = "learning|networks|runs|analysis|envs|foreign|stats|reports|leaderboard|cli"
EXAMPLES = {"suites/small-v1.json", "results/NAME-vN"}  # of a store; of no one suite
COMMAND: Any = typer.main.get_command(app)
GROUPS = {"rlnet_bench.families", "rlnet_bench.methods"}  # entry points


def wrong_commands(text: str) -> Iterator[str]:
    """Verbs and options that the command line does not have."""
    for found in re.finditer(r"rlnet-bench ([a-z][a-z-]*(?: [^`\n#|]*)?)", re.sub(r"\\\n\s*", " ", text)):
        words, at = found[1].split(), 0
        verb = COMMAND
        while hasattr(verb, "commands") and at < len(words):
            if words[at] not in verb.commands:
                yield f"no verb {' '.join(words[: at + 1])!r}"
                break
            verb, at = verb.commands[words[at]], at + 1
        else:
            known = {o for p in verb.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            given = (w.split("=")[0].rstrip(".,;:)\"'") for w in words[at:] if w.startswith("--"))
            yield from (f"no option {o} of {' '.join(words[:at])!r}" for o in given if o not in known)


def wrong_names(text: str) -> Iterator[str]:
    """Files and names that are not there."""
    paths = [m[1] for m in re.finditer(rf"`((?:{TOP})/[\w./-]+)`", text)]
    paths += [f"rlnet_bench/{m[1]}" for m in re.finditer(rf"`((?:{INSIDE})/[\w./]+\.py)`", text)]
    yield from (f"no file {p}" for p in paths if p not in EXAMPLES and not (ROOT / p).exists())
    names = {f"rlnet_bench{m[1]}" for m in re.finditer(r"\brlnet_bench((?:\.[A-Za-z_]\w*)+)", text)}
    yield from (f"no name {n}" for n in sorted(names - GROUPS) if not is_there(n))
    yield from (f"no name rb.{m[1]}" for m in re.finditer(r"\brb\.([a-z_]\w*)", text) if m[1] not in rb.__all__)


@cache
def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_speaks_of_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [*wrong_commands(text), *wrong_names(text)] == []


def test_what_is_not_there_is_found() -> None:
    text = (
        "`rlnet-bench runn quick`, `rlnet-bench run quick --budgt 3`, `network chek`, `rlnet-bench network chek x.yaml`"
    )
    assert list(wrong_commands(text)) == [
        "no verb 'runn'",
        "no option --budgt of 'run'",
        "no verb 'network chek'",
    ]
    text = "`runs/nothing.py`, `docs/no.md`, rlnet_bench.runs.nothing, rb.nothing, rlnet_bench.runs.plan.make_plan"
    assert list(wrong_names(text)) == [
        "no file docs/no.md",
        "no file rlnet_bench/runs/nothing.py",
        "no name rlnet_bench.runs.nothing",
        "no name rb.nothing",
    ]


def test_every_page_is_in_the_index_and_every_method_on_its_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {p for p in pages if f"({p})" not in index} == set()
    methods = (ROOT / "docs" / "methods.md").read_text()
    assert [m for m in rb.method_ids() if f"`{m}`" not in methods] == []
