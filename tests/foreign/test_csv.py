"""The tidy CSV: what is read, what is refused and in which words, and that writing and reading agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnet_bench.analysis.imported import to_results
from rlnet_bench.errors import BadInput
from rlnet_bench.foreign import CellFacts, Evaluation, ForeignTable, merged, parse_csv, write_csv
from rlnet_bench.foreign.csv import CsvOptions

HEAD = "method,task,seed,frames,episode,return"


def test_a_minimal_file_is_read() -> None:
    table = parse_csv(f"{HEAD}\nippo,spread,0,0,0,-10\nippo,spread,0,0,1,-12.5\nippo,spread,0,1e3,0,-3\n")
    first, second = table.evaluations
    assert first.returns.tolist() == [[-10.0], [-12.5]] and first.frames == 0 and first.episodes == 1
    assert second.frames == 1000 and second.kind == "curve" and second.mode == "deterministic"
    assert table.facts["ippo", "spread"].scale == "unknown"


def test_agents_means_and_statuses_are_read() -> None:
    text = (
        f"{HEAD},agent,kind,status,floor,success\n"
        "a,t,0,5,0,1,x,final,ok,,0.5\na,t,0,5,0,2,y,final,ok,,0.5\n"
        "a,t,1,5,mean,3,,curve,ok,,\n"
        "a,t,2,0,0,,,,diverged,-9,\n"
    )
    table = parse_csv(text)
    assert table.evaluations[0].returns.tolist() == [[1.0, 2.0]]
    assert table.evaluations[1].episodes is None
    assert table.statuses == {("a", "t", 2): "diverged"} and table.floors == {"t": -9.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["a header", "nothing"]),
        (f"{HEAD}\n", ["at least one row"]),
        ("method,task,sed,frames,episode,return\na,t,0,0,0,1\n", ["line 1", "'seed'", "Did you mean 'sed'"]),
        ("method,task,seed,return\na,t,0,1\n", ["line 1", "'frames'", "a column frames with the steps trained"]),
        ("method;task;seed\n", ["separated by commas"]),
        (f"{HEAD},seed\n", ["every column once", "seed"]),
        (f"{HEAD}\na,t,0,0,0\n", ["line 2", "6 fields", "a row of 5"]),
        (f"{HEAD}\na,t,-1,0,0,1\n", ["line 2: seed", "whole number", "'-1'"]),
        (f"{HEAD}\na,t,0.5,0,0,1\n", ["line 2: seed", "'0.5'"]),
        (f"{HEAD}\na,t,0,x,0,1\n", ["line 2: frames", "a number", "'x'"]),
        (f"{HEAD}\na,t,0,0,0,\n", ["line 2: return", "a number", "nothing"]),
        (f"{HEAD}\n,t,0,0,0,1\n", ["line 2: method", "printable"]),
        (
            f"{HEAD}\na,t,0,0,0,1\na,t,0,0,0,2\n",
            ["line 3: episode", "a on t, seed 0, at 0 frames", "begins on", "line 2", "second row", "two seeds"],
        ),
        (f"{HEAD}\na,t,0,0,0,1\na,t,0,0,mean,2\n", ["line 3: episode", "'mean'"]),
        (f"{HEAD},success\na,t,0,0,0,1,2\n", ["line 2: success", "between 0 and 1", "'2'"]),
        (f"{HEAD},kind\na,t,0,0,0,1,absolut\n", ["line 2: kind", "Did you mean 'absolute'?"]),
        (f"{HEAD},scale\na,t,0,0,0,1,sum\na,t,1,0,0,1,mean\n", ["line 3: scale", "'sum'", "line 2", "'mean'"]),
        (f"{HEAD},agent\na,t,0,0,0,1,x\na,t,0,0,1,1,y\n", ["agent", "['x']", "['y']"]),
        (f"{HEAD},floor\na,t,0,0,0,1,3\na,t,1,0,0,1,4\n", ["line 3: floor", "one number per task"]),
        (f'{HEAD}\na,"t,0,0,0,1\n', ["broken row"]),
    ],
)
def test_a_malformed_file_says_where_what_was_expected_and_found(text: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        parse_csv(text, "runs.csv")
    for word in ["runs.csv", *words]:
        assert word in str(error.value), str(error.value)


def test_columns_can_be_renamed_and_unknown_ones_are_named() -> None:
    table = parse_csv(
        "algo,task,seed,frames,episode,return,sucess\na,t,0,0,0,1,1\n", "f", CsvOptions({"method": "algo"})
    )
    assert table.methods == ("a",)
    assert "'sucess'" in table.warnings[0] and "'success'" in table.warnings[0]


def test_merging_refuses_the_same_run_twice_and_different_scales() -> None:
    one = parse_csv(f"{HEAD}\na,t,0,0,0,1\n", "one.csv")
    two = parse_csv(f"{HEAD}\na,t,0,0,0,2\n", "two.csv")
    with pytest.raises(BadInput, match=r"two.csv: 'a' on 't', seed 0, is also in one.csv"):
        merged([one, two], "both")
    three = parse_csv(f"{HEAD}\na,t,1,0,0,2\n", "three.csv").with_scale("mean")
    with pytest.raises(BadInput, match="scale 'mean' and 'unknown'"):
        merged([one, three], "both")


def test_sums_and_means_of_an_unknown_task_are_not_compared() -> None:
    rows = "".join(f"a,t,{s},0,0,{30 + s},sum\nb,t,{s},0,0,{10 + s},mean\n" for s in range(5))
    with pytest.raises(BadInput, match=r"'t' some returns are added over agents and others averaged.*a sum, b mean"):
        to_results(parse_csv(f"{HEAD},scale\n{rows}"))
    assert to_results(parse_csv(f"{HEAD},scale\n{rows.replace('mean', 'sum')}")).tasks == ("t",)


names = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda x: x.strip() == x and x.isprintable()
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw: st.DrawFn) -> ForeignTable:
    facts, evaluations, seen = {}, [], set()
    for _ in range(draw(st.integers(1, 4))):
        method, task = draw(names), draw(names)
        scale, steps = draw(st.sampled_from(["sum", "mean", "unknown"])), draw(st.sampled_from(["frames", "unknown"]))
        facts.setdefault((method, task), CellFacts(scale, steps, draw(st.none() | st.integers(1, 500))))
        key = (method, task, draw(st.integers(0, 5)), draw(st.sampled_from(["curve", "final", "training"])))
        if key in seen:
            continue
        seen.add(key)
        is_mean = draw(st.booleans())
        rows, agents = (1 if is_mean else draw(st.integers(1, 3))), draw(st.integers(1, 3))
        returns = np.array(
            draw(st.lists(st.lists(numbers, min_size=agents, max_size=agents), min_size=rows, max_size=rows))
        )
        rates = np.array(draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))) if draw(st.booleans()) else None
        episodes = draw(st.none() | st.integers(2, 99)) if is_mean else 1
        frames = draw(st.integers(0, 10**9))
        evaluations.append(Evaluation(*key, "sampled", frames, returns, rates, episodes))  # type: ignore[arg-type]
    cells = {e.cell for e in evaluations}
    return ForeignTable("made", tuple(evaluations), {k: v for k, v in facts.items() if k in cells})


@settings(max_examples=60, deadline=None)
@given(tables())
def test_what_is_written_reads_back_the_same(table: ForeignTable) -> None:
    back = parse_csv(write_csv(table))
    assert back.facts == table.facts
    for a, b in zip(back.evaluations, table.evaluations, strict=True):
        assert (a.cell, a.seed, a.kind, a.mode, a.frames, a.episodes) == (
            b.cell,
            b.seed,
            b.kind,
            b.mode,
            b.frames,
            b.episodes,
        )
        np.testing.assert_array_equal(a.returns, b.returns)
        assert (a.success is None) == (b.success is None)
    assert write_csv(back) == write_csv(table)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "t", "0", "1", "-1", "nan", "", "mean", "1e9", '"', "é", "x,y"]) | st.text(max_size=4), max_size=7), max_size=5))  # fmt: skip # noqa: E501
def test_any_text_is_read_or_refused_in_a_sentence(rows: list[list[str]]) -> None:
    text = HEAD + "\n" + "\n".join(",".join(row) for row in rows)
    try:
        parse_csv(text, "f.csv")
    except BadInput as error:
        assert "expected" in str(error)


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "'=x", "''-x", "'plain", "a=b", "plain"])
def test_names_are_no_formulas_in_a_spreadsheet_and_come_back(name: str) -> None:
    facts = {(name, name): CellFacts("sum", "frames")}
    line = Evaluation(name, name, 0, "final", "deterministic", 0, np.array([[-1.5]]), None, 1)
    text = write_csv(ForeignTable("t", (line,), facts, {(name, name, 1): "failed"}))
    for row in text.splitlines()[1:]:
        cells = row.split(",")
        assert not cells[0].startswith(("=", "+", "-", "@")) and cells[0] == cells[1]
    back = parse_csv(text)
    assert back.methods == back.tasks == (name,) and back.evaluations[0].value == -1.5
