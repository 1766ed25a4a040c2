"""Small exports as other tools leave them, each a kind of trouble: the right numbers, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.lint import lint
from rlnet_bench.errors import BadInput
from rlnet_bench.foreign import merged, parse_csv, write_csv
from rlnet_bench.foreign.completeness import judged, lost_runs
from rlnet_bench.foreign.csv import CsvOptions
from rlnet_bench.foreign.door import Options, detected, read_all, read_foreign
from rlnet_bench.foreign.table import ForeignTable

CASES = Path(__file__).parent / "cases"
HEAD = "method,task,seed,frames,episode,return,scale"
EXPORT = Options(scale="sum", runs="{method}-{task}-seed{seed}")
RUNS = Options(scale="sum", metric="eval/return", columns={"method": "algo", "task": "env", "seed": "seed"})


def finals(table: ForeignTable, method: str = "alpha") -> list[float]:
    [scores] = [s for s in to_results(table).scores("final") if s.method == method]
    return [float(x) for runs in scores.runs.values() for x in runs.scores]


def test_an_interrupted_run_is_counted_and_never_averaged() -> None:
    table = read_foreign(None, CASES / "min_sacred")
    results = to_results(table)
    runs = results.scores("final")[0].runs["toy"]
    assert runs.scores.tolist() == [0.9] and (runs.n, runs.n_incomplete, runs.n_failed) == (1, 1, 1)
    assert runs.describe() == "1 ok (1 failed, 1 incomplete)"
    [note] = [n for n in results.notes if n.startswith("Runs without a score")]
    assert "1 incomplete: alpha on toy seed 2 (INTERRUPTED at 0 of 2,000 steps)" in note
    assert "1 failed: alpha on toy seed 3" in note
    assert results.curve("alpha", "toy")[2] == (1,)  # the curve of the whole run, not of what both have
    assert any(f.rule == "incomplete" and "seed 2" in f.sentence for f in lint([table]))


def test_what_became_of_runs_survives_the_tidy_csv() -> None:
    table = read_foreign(None, CASES / "min_sacred")
    back = parse_csv(write_csv(table))
    assert back.statuses == table.statuses and lost_runs(back) == lost_runs(table)
    assert finals(back) == [0.9]


def sacred(folder: Path, seed: int, values: list[float], status: str = "COMPLETED", **config: object) -> Path:
    """One run's folder; a point every 1000 frames."""
    shutil.copytree(CASES / "min_sacred" / "1", folder)
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**known, "seed": seed, **config}))
    series = {"steps": [1000 * i for i in range(len(values))], "values": values}
    (folder / "metrics.json").write_text(json.dumps({"test_return_mean": series}))
    (folder / "run.json").write_text(json.dumps({"status": status}))
    return folder


@pytest.mark.parametrize(
    ("status", "points", "settings", "is_complete"),
    [
        ("COMPLETED", 3, {}, True),
        ("COMPLETED", 2, {}, False),  # at 1,000 of 2,000, whatever sacred says
        ("COMPLETED", 2, {"test_interval": 1000}, True),  # no test was due any more
        ("FAILED", 3, {}, True),  # it broke down after its last evaluation
        ("RUNNING", 2, {"test_interval": 1000}, False),
        ("INTERRUPTED", 3, {"t_max": None}, False),
    ],
)
def test_sacred_status_and_t_max_decide(
    tmp_path: Path, status: str, points: int, settings: dict[str, object], is_complete: bool
) -> None:
    sacred(tmp_path / "1", 1, [0.0, 0.5, 0.9][:points], status, **settings)
    assert (read_foreign("epymarl", tmp_path).statuses == {}) == is_complete


def test_a_curve_that_ends_far_before_its_siblings_is_incomplete() -> None:
    rows = "".join(f"a,t,{s},{f},mean,{f},sum\n" for s, end in ((0, 1000), (1, 950), (2, 400)) for f in (0, end))
    controls = "b,t,0,0,mean,7,sum\n"
    table = judged(parse_csv(f"{HEAD}\n{rows}{controls}"))
    assert table.statuses == {("a", "t", 2): "incomplete"} and "400 steps" in table.reasons["a", "t", 2]
    assert finals(table, "a") == [1000, 950] and finals(table, "b") == [7]
    assert judged(table).statuses == table.statuses


def test_a_retry_does_not_erase_the_run_that_failed(tmp_path: Path) -> None:
    sacred(tmp_path / "1", 1, [0.0], "FAILED")
    sacred(tmp_path / "2", 1, [0.0, 0.5, 0.9])
    sacred(tmp_path / "3", 2, [0.0, 0.5, 0.7])
    table = read_foreign(None, tmp_path)
    assert table.retried == {("alpha", "toy", 1): ("incomplete",)} and not table.statuses
    for read in (table, parse_csv(write_csv(table))):
        runs = to_results(read).scores("final")[0].runs["toy"]
        assert runs.scores.tolist() == [0.9, 0.7] and runs.n_incomplete == 1
        assert "seed 1 (incomplete before)" in lost_runs(read)
    sacred(tmp_path / "4", 1, [0.0, 0.5, 0.8])
    with pytest.raises(BadInput, match="seed 1, is also in"):
        read_foreign(None, tmp_path)


def test_success_has_one_unit_per_source() -> None:
    table = read_foreign(None, CASES / "smaxwin_min.json", Options(scale="sum"))
    shares = {
        s: [float(e.success[0]) for e in table.evaluations if e.seed == s and e.success is not None] for s in (0, 1)
    }
    np.testing.assert_allclose(shares[0], [0, 0.0078125, 0.875])
    np.testing.assert_allclose(shares[1], [0, 0, 0.005])  # the same logger: half a percent, not a half
    assert any("up to 87.5" in w and "percents" in w for w in table.warnings)


def test_percents_of_one_sacred_run_are_percents_of_its_siblings(tmp_path: Path) -> None:
    for seed, wins in ((1, [0.0, 0.5, 1.0]), (2, [0.0, 0.5, 60.0])):
        folder = sacred(tmp_path / str(seed), seed, [0.0, 0.5, 0.9])
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["test_battle_won_mean"] = {"steps": [0, 1000, 2000], "values": wins}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    found = [float(e.success[0]) for e in read_foreign(None, tmp_path).evaluations if e.success is not None]
    np.testing.assert_allclose(found, [0, 0.005, 0.01, 0, 0.005, 0.6])


def test_success_that_is_neither_share_nor_percentage_is_left_out_with_a_word(tmp_path: Path) -> None:
    text = (CASES / "smaxwin_min.json").read_text().replace("87.5", "870.5")
    (tmp_path / "f.json").write_text(text)
    table = read_foreign(None, tmp_path / "f.json", Options(scale="sum"))
    assert all(e.success is None for e in table.evaluations)
    assert any("0 to 870.5" in w for w in table.warnings)


@pytest.mark.parametrize("metrics", ["{}", "", "{", "[]", None])
def test_one_bad_folder_does_not_sink_the_rest(tmp_path: Path, metrics: str | None) -> None:
    for seed in range(1, 6):
        sacred(tmp_path / str(seed), seed, [0.0, 0.5, 0.9])
    bad = sacred(tmp_path / "6", 6, [0.0])
    (bad / "metrics.json").unlink()
    if metrics is not None:
        (bad / "metrics.json").write_text(metrics)
    lost = sacred(tmp_path / "7", 7, [0.0, 0.5, 0.9])
    (lost / "config.json").write_text("")
    table = read_foreign(None, tmp_path)
    assert table.statuses == {("alpha", "toy", 6): "failed"} and finals(table) == [0.9] * 5
    assert any("1 of 7 could not be read" in w and str(lost) in w for w in table.warnings)
    skipped = read_foreign(None, tmp_path, Options(skip_broken=True))
    assert not skipped.statuses and finals(skipped) == [0.9] * 5
    for seed in range(1, 6):
        shutil.rmtree(tmp_path / str(seed))
    with pytest.raises(BadInput, match="none of 2 could be read") as error:
        read_foreign(None, tmp_path)
    assert str(bad) in str(error.value) and str(lost) in str(error.value)


def test_a_folder_of_marl_eval_files_has_one_folded_warning(tmp_path: Path) -> None:
    for seed in range(40):
        run = {"step_0": {"step_count": 0, "mean_episode_return": [1.0]}}
        (tmp_path / f"{seed}.json").write_text(json.dumps({"e": {"t": {"alpha": {f"seed_{seed}": run}}}}))
    (tmp_path / "broken.json").write_text("{")
    table = read_foreign(None, tmp_path, Options(scale="sum"))
    assert len(table.evaluations) == 40 and len(table.warnings) == 2
    assert any("40 of 40 points are one number each" in w for w in table.warnings)
    assert any("1 of 41 could not be read" in w and "broken.json" in w for w in table.warnings)


def test_one_bad_source_of_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(f"{HEAD}\nalpha,t,0,1,mean,1,sum\n")
    (tmp_path / "bad.csv").write_text("nothing\n")
    table = read_all(None, [tmp_path / "good.csv", tmp_path / "bad.csv"], Options(), "two")
    assert finals(table) == [1.0] and any("bad.csv" in w for w in table.warnings)


def test_formats_are_found_by_content(tmp_path: Path) -> None:
    assert detected(CASES / "min_sacred") == "epymarl"
    assert detected(CASES / "smaxwin_min.json") == "marl-eval"
    assert {detected(f) for f in (CASES / "wandb").iterdir()} == {"wandb"}
    run = {"step_0": {"step_count": 0, "return": [1.0], "agents_return": [1.0]}}
    (tmp_path / "b.json").write_text(json.dumps({"vmas": {"balance": {"mappo": {"seed_0": run}}}}))
    assert detected(tmp_path / "b.json") == detected(tmp_path) == "benchmarl"
    (tmp_path / "x.txt").write_text(f"{HEAD}\n")
    assert detected(tmp_path / "x.txt") == "csv"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="found none of them"):
        read_foreign(None, empty)


def test_what_a_file_lacks_can_be_given() -> None:
    text = "seed;frames;episode;return;scale\n0;1e3;mean;0,5;sum\n1;1e3;mean;-1,5e1;sum\n"
    options = CsvOptions(method="alpha", task="t", separator=";", decimal=",")
    assert finals(parse_csv(text, "f.csv", options)) == [0.5, -15.0]
    with pytest.raises(BadInput, match=r"Add --separator ';' \(and --decimal"):
        parse_csv(text, "f.csv")
    with pytest.raises(BadInput, match="Add --decimal ','"):
        parse_csv(text, "f.csv", CsvOptions(method="a", task="t", separator=";"))
    with pytest.raises(BadInput, match="Leave --method out"):
        parse_csv(f"{HEAD}\n", "f.csv", CsvOptions(method="a"))
    with pytest.raises(BadInput, match="--decimal: expected another character"):
        CsvOptions(separator=",", decimal=",")


def test_all_missing_columns_are_named_at_once() -> None:
    with pytest.raises(BadInput) as error:
        parse_csv("algo,sede,return\na,0,1\n", "f.csv")
    text = str(error.value)
    assert "the columns 'method', 'task', 'seed', 'frames', 'episode'" in text
    for remedy in ("--task NAME", "Did you mean 'sede'? Add --columns seed=sede.", "the word mean in every row"):
        assert remedy in text


def test_wandb_states_empty_cells_and_nan_are_themselves() -> None:
    table = read_foreign(None, CASES / "wandb" / "runs.csv", RUNS)
    assert {run[2]: status for run, status in table.statuses.items()} == {2: "failed", 3: "incomplete", 4: "diverged"}
    assert "crashed at 500 steps" in table.reasons["alpha", "maze", 3]
    assert "no value of 'eval/return'" in table.reasons["alpha", "maze", 2]
    with pytest.raises(BadInput, match="column `floor`"):  # nobody knows what a diverged run scores here
        to_results(table)
    assert finals(table.without({("alpha", "maze", 4)})) == [3.0]


def test_wandb_panels_with_a_crash_and_with_nan() -> None:
    crash = read_foreign(None, CASES / "wandb" / "panel_crash.csv", EXPORT)
    assert crash.statuses == {("alpha", "maze", 2): "incomplete"} and finals(crash) == [3.0]
    passing = read_foreign(None, CASES / "wandb" / "panel_nan.csv", EXPORT)
    assert not passing.statuses and finals(passing) == [3.0, 2.5]
    assert any("seed 2 has no finite value at 100 steps" in w for w in passing.warnings)


def test_a_crashed_wandb_run_that_was_started_again_stays_counted(tmp_path: Path) -> None:
    text = (CASES / "wandb" / "runs.csv").read_text().splitlines()
    again = [text[0], text[1], text[3], '"a5","finished","alpha","maze","3","1000","2.0"']
    (tmp_path / "runs.csv").write_text("\n".join(again) + "\n")
    table = read_foreign(None, tmp_path / "runs.csv", RUNS)
    assert finals(table) == [3.0, 2.0] and table.retried == {("alpha", "maze", 3): ("incomplete",)}


def test_a_sacred_run_that_ends_in_nan_diverged(tmp_path: Path) -> None:
    sacred(tmp_path / "1", 1, [0.0, 0.5, float("nan")])
    sacred(tmp_path / "2", 2, [0.0, float("nan"), 0.9])
    table = read_foreign(None, tmp_path)
    assert table.statuses == {("alpha", "toy", 1): "diverged"}
    assert [e.frames for e in table.evaluations if e.seed == 2] == [0, 2000]


def test_attempts_of_lost_runs_keep_the_one_that_went_furthest() -> None:
    tables = [
        parse_csv(
            f"{HEAD},status\na,t,0,{end},mean,1,sum,incomplete\nb,t,0,9,mean,1,sum,ok\n".replace("b,", f"b{end},")
        )
        for end in (5, 9)
    ]
    table = merged(tables, "both")
    assert [e.frames for e in table.of("a", "t")] == [9] and table.retried == {("a", "t", 0): ("incomplete",)}


def test_a_folder_of_mixed_scales_is_brought_to_one(tmp_path: Path) -> None:
    task = "mpe/simple_spread-discrete-v1"
    for seed in (1, 2):
        sacred(tmp_path / f"qmix{seed}", seed, [-79, -60, -45], name="qmix")
        sacred(tmp_path / f"vdn{seed}", seed, [-26, -20, -15], name="vdn", reward_scalarisation="mean")
        sacred(tmp_path / f"iql{seed}", seed, [-26, -20, -15], name="iql", reward_scalarisation=None)
    with pytest.raises(BadInput, match="the reward scale of 'iql'"):
        read_all(None, [tmp_path], Options(), "runs")
    mixed = read_all(None, [tmp_path], Options(scale="mean"), "runs")
    with pytest.raises(BadInput, match="--task ID"):
        to_results(mixed)
    table = read_all(None, [tmp_path], Options(scale="mean", task=task), "runs")
    assert {m: finals(table, m) for m in ("qmix", "vdn", "iql")} == dict.fromkeys(("qmix", "vdn", "iql"), [-45.0] * 2)
