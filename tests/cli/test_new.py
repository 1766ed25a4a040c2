"""`rlnet-bench new method`: what it writes passes the check; a name that is taken is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from rlnet_bench.cli.main import app
from rlnet_bench.errors import BadInput
from rlnet_bench.runs.check import check_method


def test_a_new_method_keeps_the_contract(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", "method", "my-own", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rules = ["learner_contract", "rebuilt_policy", "state_continues_to_the_bit", "divergence_freezes_one"]
    check_method(f"{tmp_path}/my_own.py:MyOwn", seeds=(0, 1), only=rules).raise_if_failed()


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", "method", "ippo", "--out", str(tmp_path)])
    assert isinstance(done.exception, BadInput) and "there is a method of this name" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["suite", "method", "task", "network", "submission"])
def test_what_it_says_to_do_next_is_on_the_command_line(kind: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["new", kind, "my-own", "--out", str(tmp_path), "--json"])
    told = json.loads(done.output)
    assert Path(told["path"]).is_file()
    for command in (told["check"], told["try"]):
        tool, *words = command.split()
        verb = typer.main.get_command(app)
        while hasattr(verb, "commands"):
            verb = verb.commands[words.pop(0)]
        known = {o for p in verb.params for o in p.opts}
        assert tool == "rlnet-bench" and str(tmp_path) in command
        assert {w for w in words if w.startswith("--")} <= known
