"""Reference points of a suite's own tasks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rlnet_bench.analysis.loading import _with_points
from rlnet_bench.envs.card import unknown_card
from rlnet_bench.errors import BadInput
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.reference_points import inserted, written
from rlnet_bench.runs.suite import Suite, parse_suite

SUITE = (
    "name: s\ntasks: [mine.py:make, mpe/simple_spread-discrete-v1]\nmethods: [random]\nseeds: 1\nbudget: {frames: 10}\n"
)


def suite(card: str) -> Suite:
    return parse_suite(load(f"{SUITE}{card}", "s.yaml"))


def test_a_number_will_do_and_becomes_a_reference() -> None:
    points = suite("card:\n  mine.py:make: {random: -80, best: {value: -20.5, se: 0.5, n: 64}}\n").card["mine.py:make"]
    found = points.references()
    assert found["random"].value == -80 and found["random"].se == 0
    assert (found["best"].value, found["best"].se, found["best"].n) == (-20.5, 0.5, 64) and "uncoordinated" not in found


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("card: {mine.py:make: {random: 1}}\n", ["s.yaml:6", "best"]),
        ("card: {mine.py:make: {random: 1, best: 1}}\n", ["`best` above `random`", "1 and 1"]),
        ("card: {other: {random: 0, best: 1}}\n", ["'other'", "not among `tasks`"]),
        ("card: {mpe/simple_spread-discrete-v1: {random: 0, best: 1}}\n", ["the catalogue has its card"]),
        ("card: {mine.py:make: {random: 0, best: x}}\n", ["s.yaml:6", "best"]),
    ],
)
def test_mistakes_are_sentences(card: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        suite(card)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_tasks_left_out_take_their_points_with_them() -> None:
    document = load(f"{SUITE}card: {{mine.py:make: {{random: 0, best: 1}}}}\n", "s.yaml")
    assert not parse_suite(document, ["tasks=[mpe/simple_spread-discrete-v1]"]).card


def test_points_are_written_into_a_file_that_stays_as_it_is() -> None:
    lines = written("mine.py:make", {"random": {"value": 0.5}, "best": {"value": 2.0}})
    once = inserted(f"# mine\n{SUITE}", "s.yaml", "mine.py:make", lines)
    assert once.startswith(f"# mine\n{SUITE}card:\n  mine.py:make:\n    random:\n      value: 0.5\n")
    assert parse_suite(load(once, "s.yaml")).card["mine.py:make"].best.value == 2.0
    more = inserted(once, "s.yaml", "vmas:x.py", written("vmas:x.py", {"random": {"value": 1.0}}))
    assert set(load(more, "s.yaml").data["card"]) == {"mine.py:make", "vmas:x.py"}
    with pytest.raises(BadInput, match=r"points of mine\.py:make already"):
        inserted(once, "s.yaml", "mine.py:make", lines)
    with pytest.raises(BadInput, match=r"line 6: expected `card:` with its tasks on lines of their own"):
        inserted(f"{SUITE}card: {{}}\n", "s.yaml", "mine.py:make", lines)


def test_results_see_them() -> None:
    made = suite("card:\n  mine.py:make: {random: -80, best: -20}\n")
    card = _with_points(SimpleNamespace(suite=made), unknown_card("mine.py:make"))  # type: ignore[arg-type]
    assert card.references["best"].value == -20 and not unknown_card("mine.py:make").references
    assert card.hash() == unknown_card("mine.py:make").hash()  # no run id moves


@pytest.mark.slow
def test_a_task_of_ones_own_gets_a_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    """Trained, measured, written, run again: nothing is trained twice, and scores are normalised."""
    from rlnet_bench.cli.main import main

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rlnet-bench", *words])
        code = 0
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        text = capsys.readouterr()
        return code, text.out + text.err

    monkeypatch.chdir(tmp_path)
    assert call("new", "task", "my-task")[0] == 0
    Path("s.yaml").write_text(
        "name: mine\ntasks: [my_task.py:make]\nmethods: [ippo, random]\nseeds: 2\nbudget: {frames: 4000}\n"
        "evaluation: {episodes: 4, absolute_episodes: 8, every: 2000}\n"
    )
    assert call("run", "s.yaml", "--trust-code")[0] == 0
    configs = {f.parent: f.read_text() for f in Path("rlnet-store/runs").glob("*/config.json")}
    trained = next(str(folder) for folder, text in configs.items() if '"method": "ippo"' in text)
    assert "no aggregate" in (text := call("stats")[1]).lower() or "own units" in text
    code, text = call("reference", "my_task.py:make", "--suite", "s.yaml", "--episodes", "8")
    assert code == 2 and "give --best RUN" in text
    code, text = call("reference", "mpe/simple_spread-discrete-v1")
    assert code == 2 and "in the catalogue" in text
    code, text = call("reference", "my_task.py:make", "--best", trained, "--suite", "s.yaml", "--episodes", "16")
    assert code == 0 and "policy: ippo, the best of 2 seeds" in text, text
    assert "2 of 2 groups are already done" in call("run", "s.yaml", "--trust-code")[1]
    assert "own units" not in call("stats")[1] and "normalised" in call("compare", "ippo", "random")[1]
