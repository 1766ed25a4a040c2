"""Exports as their tools leave them, read unaided: nothing is said but the scale, which no file knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.lint import lint
from rlnet_bench.errors import BadInput
from rlnet_bench.foreign import parse_csv, write_csv
from rlnet_bench.foreign.door import Options, detected, read_all
from rlnet_bench.foreign.table import ForeignTable

SUM = Options(scale="sum")
SCORES = {("ippo", 0): 1.5, ("ippo", 1): 2.25, ("mappo", 0): 3.5, ("mappo", 1): 4.0}
STEPS = (0, 1000, 2000)


def read(path: Path, options: Options = SUM) -> ForeignTable:
    return read_all(None, [path], options, path.name)


def finals(table: ForeignTable) -> dict[tuple[str, int], float]:
    scores = to_results(table).scores("final")
    return {(s.method, n): float(x) for s in scores for r in s.runs.values() for n, x in zip(r.seeds, r.scores)}


def at(score: float, step: int) -> float:
    """A curve that ends at the score."""
    return score * step / STEPS[-1]


def panel(axis: str, *, names: str = "{}-spread-seed{}", steps: bool = False, scale: float = 1.0) -> str:
    runs = [names.format(*run) for run in SCORES]
    metrics = ["_step", "eval/return"] if steps else ["eval/return"]
    head = [axis, *(f"{r} - {m}{end}" for r in runs for m in metrics for end in ("", "__MIN", "__MAX"))]
    rows = [head]
    for step in STEPS:
        row = [str(step * scale)]
        for score in SCORES.values():
            row += [str(step)] * 3 * steps + [str(at(score, step))] * 3
        rows.append(row)
    return "\n".join(",".join(f'"{c}"' for c in row) for row in rows) + "\n"


def tidy(separator: str = ",", decimal: str = ".", head: str = "method task seed frames episode return") -> str:
    rows = [head.split()]
    is_mean = ["mean"] if "episode" in rows[0] else []
    for (method, seed), score in SCORES.items():
        for step in STEPS:
            rows.append([method, "spread", str(seed), str(step), *is_mean, str(at(score, step)).replace(".", decimal)])
    return "\n".join(separator.join(row) for row in rows) + "\n"


@pytest.mark.parametrize(
    "data",
    [
        panel("env_steps").encode(),
        panel("env_steps").replace("\n", "\r\n").encode("utf-8-sig"),
        panel("Relative Time (Process)", steps=True, scale=0.7).encode(),
        panel("env_steps", names="{} spread {}").encode(),
        panel("env_steps", names="{}_spread_s{}").encode(),
        tidy().encode(),
        tidy(";", ",").replace("\n", "\r\n").encode("utf-8-sig"),
        tidy("\t").encode("utf-16"),
        tidy(head="algo env seed step return").encode(),
        tidy(head="Algorithm Env_Name Seed total_timesteps episode_reward").encode(),
        tidy().replace("\n", ",\n").encode(),  # an empty last column
    ],
)
def test_one_file_of_all_runs(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "export.csv").write_bytes(data)
    table = read(tmp_path / "export.csv")
    assert finals(table) == SCORES and table.tasks == ("spread",)
    assert finals(parse_csv(write_csv(table))) == SCORES


def test_letters_of_western_europe_survive_excel(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(tidy().replace("spread", "Straße").encode("cp1252"))
    table = read(tmp_path / "x.csv")
    assert table.tasks == ("Straße",) and any("Windows-1252" in w for w in table.warnings)


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(tidy(head="algo env seed step return"))
    text = " ".join(read(tmp_path / "x.csv").warnings)
    assert "'algo' as method, 'env' as task, 'step' as frames" in text and "no column episode" in text
    (tmp_path / "p.csv").write_text(panel("env_steps"))
    assert any("'ippo-spread-seed0' is ippo, spread, 0" in w for w in read(tmp_path / "p.csv").warnings)


def test_what_can_be_read_in_two_ways_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(panel("env_steps", names="my-{}-on-spread-{}"))
    with pytest.raises(BadInput, match="--runs"):
        read(file)
    file.write_text(tidy(head="algo env seed step return").replace("1000", "2000"))  # two rows of one evaluation
    with pytest.raises(BadInput, match="Add a column episode: its number, or mean"):
        read(file)


def test_a_turned_name_is_known_by_its_method(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(panel("env_steps", names="spread_{1}_{0}").replace("spread_0_", "spread_seed0_"))
    (tmp_path / "p.csv").write_text(panel("env_steps", names="spread-{0}-{1}"))
    assert finals(read(tmp_path / "p.csv")) == SCORES


def test_wandb_table_of_runs_with_notes(tmp_path: Path) -> None:
    names = "Name State Notes User Created Runtime Sweep algo env_name seed total_steps _step eval/return"
    head = ",".join(f'"{name}"' for name in names.split())
    rows = [
        f'"glad-sun-{i}","finished","a note, with\nlines","me","2024","300","","{m}","spread","{s}","2000","7","{x}"'
        for i, ((m, s), x) in enumerate(SCORES.items())
    ]
    (tmp_path / "runs.csv").write_text("\n".join([head, *rows]) + "\n")
    table = read(tmp_path / "runs.csv")
    assert finals(table) == SCORES and {e.frames for e in table.evaluations} == {2000}


def test_tensorboard_exports(tmp_path: Path) -> None:
    for (method, seed), score in SCORES.items():
        rows = "".join(f"1700000000.5,{s},{at(score, s)}\n" for s in STEPS)
        (tmp_path / f"run-{method}_spread_seed{seed}-tag-eval_return.csv").write_text(f"Wall time,Step,Value\n{rows}")
    table = read(tmp_path)
    assert detected(tmp_path) == "series" and finals(table) == SCORES
    assert {f.steps for f in table.facts.values()} == {"logger-steps"}
    assert {f.steps for f in read(tmp_path, Options(scale="sum", steps="frames")).facts.values()} == {"frames"}
    (tmp_path / "run-broken_spread_seed0-tag-eval_return.csv").write_text("Wall time,Step,Value\n1,x,y\n")
    assert finals(read(tmp_path)) == SCORES and any("could not be read" in w for w in read(tmp_path).warnings)


@pytest.mark.parametrize("column", ["evaluation/episode_reward_mean", "episode_reward_mean"])
def test_progress_of_rllib_as_marllib_leaves_it(tmp_path: Path, column: str) -> None:
    for (method, seed), score in SCORES.items():
        trial = tmp_path / f"{method}_mlp_spread" / f"{method.upper()}_mpe_spread_1ab2c_0000{seed}_{seed}_2024-01-01"
        trial.mkdir(parents=True)
        rows = "".join(f"{at(score, s)},25.0,{s},{i},9\n" for i, s in enumerate(STEPS))
        (trial / "progress.csv").write_text(f"{column},episode_len_mean,timesteps_total,training_iteration,t\n{rows}")
        (trial / "params.json").write_text(json.dumps({"seed": seed, "env_config": {"map_name": "spread"}}))
        (trial / "result.json").write_text("{}\n")
    if "evaluation" not in column:
        with pytest.raises(BadInput, match="nothing that may be scored"):  # it was made while exploring
            to_results(read(tmp_path))
    table = read(tmp_path, Options(scale="sum", is_evaluation=True))
    assert {(m.lower(), s): x for (m, s), x in finals(table).items()} == SCORES and table.tasks == ("spread",)


def test_scalars_of_benchmarl_are_means_over_agents(tmp_path: Path) -> None:
    for (method, seed), score in SCORES.items():
        name = f"{method}_spread_mlp__{seed}1ab2c3d_24_01_01-00_00_0{seed}"
        folder = tmp_path / name / name / "scalars"
        folder.mkdir(parents=True)
        for file, values in (("eval_reward_episode_reward_mean", [at(score, s) for s in STEPS]),
                             ("counters_total_frames", STEPS), ("train_agents_loss", [9, 9, 9])):  # fmt: skip
            (folder / f"{file}.csv").write_text("".join(f"{i},{x}\n" for i, x in enumerate(values)))
    table = read(tmp_path, Options())
    assert {f.scale for f in table.facts.values()} == {"mean"} and {e.frames for e in table.evaluations} == {*STEPS}
    assert finals(table) == SCORES
    with pytest.raises(BadInput, match="averaged over agents"):
        read(tmp_path)


def test_pymarl_keeps_its_numbers_in_info_json(tmp_path: Path) -> None:
    for i, ((method, seed), score) in enumerate(SCORES.items()):
        folder = tmp_path / "sacred" / str(i)
        folder.mkdir(parents=True)
        settings = {"name": method, "seed": seed, "t_max": 2000, "env": "sc2", "env_args": {"map_name": "3m"}}
        wrapped = [{"dtype": "float64", "py/object": "numpy.float64", "value": at(score, s)} for s in STEPS]
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "info.json").write_text(json.dumps({"test_return_mean": wrapped, "test_return_mean_T": STEPS}))
        (folder / "run.json").write_text('{"status": "COMPLETED"}')
    (tmp_path / "sacred" / "_sources").mkdir()
    (tmp_path / "sacred" / "_sources" / "config.json").write_text("{}")
    assert detected(tmp_path) == "epymarl"
    assert finals(read(tmp_path)) == SCORES


def mava(broken: int | None = None) -> str:
    runs: dict[str, dict[str, object]] = {}
    for (method, seed), score in SCORES.items():
        run = {
            f"step_{i}": {"step_count": s, "elapsed_time": 1.5 * i, "mean_episode_return": [at(score, s)],
                          "steps_per_second": [9.0]}
            for i, s in enumerate(STEPS)
        }  # fmt: skip
        if broken is not None and (method, seed) == ("mappo", 1):
            run[f"step_{broken}"]["mean_episode_return"] = [float("nan")]
        runs.setdefault(method, {})[f"seed_{seed}"] = {**run, "absolute_metrics": {}}
    return json.dumps({"Env": {"spread": runs}, "extra": {"number_of_steps": 3}})


def test_mava_calls_its_file_metrics_json(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("\ufeff" + mava())
    for path in (tmp_path, tmp_path / "metrics.json"):
        assert detected(path) == "marl-eval" and finals(read(path)) == SCORES


def test_a_number_that_is_none_is_a_run_that_broke_down(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(mava(broken=1))
    assert finals(read(file)) == SCORES and any("no finite return at 1,000" in w for w in read(file).warnings)
    file.write_text(mava(broken=2))
    table = read(file)
    assert table.statuses == {("mappo", "Env/spread", 1): "diverged"}
    with pytest.raises(BadInput, match="import --floor VALUE"):
        to_results(table)
    assert finals(read(file, Options(scale="sum", floors={"": -7.0}))) == {**SCORES, ("mappo", 1): -7.0}
    with pytest.raises(BadInput, match="--floor nope"):
        read(file, Options(scale="sum", floors={"nope": 0.0}))
    file = tmp_path / "x.csv"
    file.write_text(tidy().replace("mappo,spread,1,2000,mean,4.0", "mappo,spread,1,2000,mean,nan"))
    assert read(file).statuses == {("mappo", "spread", 1): "diverged"}
    file.write_text(tidy().replace("mappo,spread,1,1000,mean,2.0", "mappo,spread,1,1000,mean,NaN"))
    assert finals(read(file)) == SCORES and any("without a finite value" in w for w in read(file).warnings)


def test_the_verdict_incomplete_can_be_overruled_and_captions_say_so(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(tidy().replace("ippo,spread,1,2000,mean,2.25\n", ""))
    assert read(file).statuses == {("ippo", "spread", 1): "incomplete"}
    for which in ("all", "ippo", "ippo:1"):
        table = read(file, Options(scale="sum", complete=(which,)))
        for again in (table, parse_csv(write_csv(table)), read_back(table, tmp_path)):
            assert finals(again)["ippo", 1] == 1.125 and not again.statuses
            [note] = [n for n in to_results(again).notes if n.startswith("Counted as complete although")]
            assert "ippo on spread seed 1 (ends at 1,000 steps" in note
            assert not any(f.rule == "incomplete" for f in lint([again]))
    with pytest.raises(BadInput, match=r"--complete 'mappo': .*\(ippo:1\)"):
        read(file, Options(scale="sum", complete=("mappo",)))


def read_back(table: ForeignTable, folder: Path) -> ForeignTable:
    (folder / "back.csv").write_text(write_csv(table))
    return read(folder / "back.csv", Options())


def test_one_run_in_two_files_counts_once(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(tidy())
    table = read_all(None, [tmp_path / "a.csv", tmp_path / "b.csv"], SUM, "two")
    assert finals(table) == SCORES and sum("counts once" in w for w in table.warnings) == len(SCORES)
    (tmp_path / "b.csv").write_text(tidy().replace("2.25", "2.5"))
    with pytest.raises(BadInput, match="with other numbers"):
        read_all(None, [tmp_path / "a.csv", tmp_path / "b.csv"], SUM, "two")
