"""W&B exports: panels and runs tables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import BadInput
from rlnet_bench.foreign.wandb import WandbOptions, parse_wandb

OPTIONS = WandbOptions(template="{method}-{task}-{seed}")
PANEL = (
    '"env_step","ippo-spread-0 - eval/return","ippo-spread-0 - eval/return__MIN","ippo-spread-0 - eval/return__MAX",'
    '"ippo-spread-1 - eval/return"\n"0","-9","-9","-9",""\n"10","-5","-5","-5","-6"\n'
)


def test_a_panel_is_read() -> None:
    table = parse_wandb(PANEL, "p.csv", OPTIONS)
    assert [(e.method, e.task, e.seed, e.frames, e.value) for e in table.evaluations] == [
        ("ippo", "spread", 0, 0, -9.0), ("ippo", "spread", 0, 10, -5.0), ("ippo", "spread", 1, 10, -6.0),
    ]  # fmt: skip
    assert table.facts["ippo", "spread"].steps == "frames" and {e.kind for e in table.evaluations} == {"curve"}


def test_training_metrics_and_log_steps_are_flagged() -> None:
    table = parse_wandb(PANEL.replace("eval/", "train/").replace("env_step", "Step"), "p.csv", OPTIONS)
    assert {e.kind for e in table.evaluations} == {"training"}
    assert table.facts["ippo", "spread"].steps == "logger-steps"
    assert any("never scored" in w for w in table.warnings) and any("log calls" in w for w in table.warnings)


def test_unfinished_runs_without_a_value_count_as_failed() -> None:
    text = "Name,State,algo,task,seed,eval/return,_step\nx,finished,ippo,spread,0,-5,100\ny,crashed,ippo,spread,1,,\n"
    columns = {"method": "algo", "task": "task", "seed": "seed"}
    table = parse_wandb(text, "r.csv", WandbOptions(metric="eval/return", columns=columns))
    assert len(table.evaluations) == 1 and table.statuses == {("ippo", "spread", 1): "failed"}
    assert "crashed" in table.reasons["ippo", "spread", 1]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("Step\n", OPTIONS, ["a header and at least one row"]),
        ("Step,a\n1,2\n", OPTIONS, ["run name - metric"]),
        ('Step,"a - m","a - n"\n1,2,3\n', OPTIONS, ["one metric", "--metric"]),
        ('Step,"a - eval"\n1,2\n', OPTIONS, ["a run name like --runs", "'a'"]),
        ('Step,"a - eval"\n1,2\n', WandbOptions(), ["method and task and seed", "--runs"]),
        ('Step,"Group: a - eval"\n1,2\n', OPTIONS, ["a column per run", "grouping"]),
        ('Step,"a-t-0 - eval"\n1,x\n', OPTIONS, ["line 2", "a number", "'x'"]),
        ('Step,"a-t-0 - eval"\n1.5,1\n', OPTIONS, ["line 2: Step", "whole number"]),
        ('Step,"a-t-0 - eval","a-t-0 - eval__MAX"\n1,5,4\n', OPTIONS, ["__MAX", "maximum of at least the value 5"]),
        ('Step,"a-t-0 - eval","a-t-00 - eval"\n1,5,4\n', OPTIONS, ["second run of 'a' on 't', seed 0"]),
        ('Step,"a - eval"\n1,2\n', WandbOptions(template="{nope}"), ["--runs", "{method}"]),
        ("Name,State,x\na,finished,1\n", OPTIONS, ["a column with the return", "--metric"]),
    ],
)
def test_a_malformed_export_says_where(text: str, options: WandbOptions, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        parse_wandb(text, "w.csv", options)
    for word in words:
        assert word in str(error.value), str(error.value)


cell = st.sampled_from(["Step", "a-t-0 - eval", "a-t-1 - eval", "Name", "State", "1", "2.5", "", "nan", "finished"]) | st.text(max_size=3)  # fmt: skip # noqa: E501


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(cell, max_size=4), max_size=4))
def test_any_text_is_read_or_refused_in_a_sentence(rows: list[list[str]]) -> None:
    try:
        parse_wandb("\n".join(",".join(row) for row in rows), "w.csv", OPTIONS)
    except BadInput as error:
        assert "expected" in str(error)
