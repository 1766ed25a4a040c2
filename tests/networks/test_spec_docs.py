"""The page of the language says what the code says."""

import re
from pathlib import Path

import pytest

from rlnet_bench.networks._fields import PARSERS, RECIPE
from rlnet_bench.networks.build import load_network, zoo_ids
from rlnet_bench.networks.spec import EDGE_FIELDS, NetworkSpec, Vertex
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import parse_suite
from rlnet_bench.runs.worker import work

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows(heading: str) -> dict[str, list[str]]:
    """First cell -> cells of the first table under a heading."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :].split("\n\n")[1]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in section.splitlines()[2:]]
    return {row[0].strip("`"): row for row in cells}


def test_every_field_is_described_with_its_default():
    table = rows("Vertices")
    edge = {"carry"}
    assert set(table) == set(PARSERS) - edge
    for key, row in table.items():
        if key not in ("per_agent", "action", "instruction", "group"):
            default = Vertex("x").to_data().get(key, getattr(Vertex("x"), key))
            plain = default.to_data() if hasattr(default, "to_data") else default
            plain = list(plain) if isinstance(plain, tuple) else plain
            assert row[1].strip("`") == str(plain), key
    assert set(rows("How a vertex learns")) == set(RECIPE)
    assert set(rows("Edges")) == set(EDGE_FIELDS)


def test_examples_run():
    yaml, suite, mixed, _ = blocks("yaml")
    assert NetworkSpec.from_yaml(mixed).vertex("scout").settings.to_data() == {"epsilon_end": 0.02, "n_step": 3}
    assert NetworkSpec.from_yaml(yaml).vertices == load_network("zoo/bridged-3ppo").vertices
    scope: dict = {}
    first, second = blocks("python")
    exec(first, scope)
    assert scope["spec"] == NetworkSpec.from_yaml(yaml)
    exec(second, scope)
    assert scope["svg"].startswith("<svg")
    tasks = "name: s\ntasks: [lbf/8x8-2p-2f-coop-v1]\nseeds: 1\nbudget: {frames: 10000}\n"
    planned = make_plan(parse_suite(load(tasks + suite, "s.yaml")))
    changes = [group.config["settings"].get("changes") for group in planned.groups]
    assert changes[:3] == [None, {}, {"motor.share": "group"}] and len(changes[3]) == 7


def test_every_zoo_id_is_listed():
    table = PAGE[PAGE.index("\n## The zoo\n") : PAGE.index("\n## From Python\n")]
    for name in zoo_ids():
        assert f"`{name.removeprefix('zoo/')}`" in table


@pytest.mark.slow
def test_the_suite_with_other_methods_runs(tmp_path: Path):
    """All three networks: trained for a moment, published, loaded."""
    head = ("name: s\ntasks: [lbf/8x8-2p-2f-coop-v1]\nseeds: 1\nbudget: {frames: 240}\n"
            "evaluation: {episodes: 2, absolute_episodes: 2}\n")  # fmt: skip
    suite = parse_suite(load(head + blocks("yaml")[3], "s.yaml"))
    small = {"num_envs": 4, "rollout_steps": 20}
    own = {"tag iql": "motor", "tag isac above": "director"}
    entries = [
        e.model_copy(update={"set": {**e.set, **small, f"{own.get(e.name, 'motor')}.settings.learning_starts": 100}})
        for e in suite.methods
    ]
    planned = make_plan(suite.model_copy(update={"methods": entries}))
    assert [g.config["label"] for g in planned.groups] == ["zoo/tag-mixed", "tag iql", "tag isac above"]
    assert [g.config["uses"] for g in planned.groups] == [{"isac": "1"}, {"iql": "1"}, {"isac": "1"}]
    store = Store.create(tmp_path / "store")
    store.add_plan(planned)
    work(store, planned.groups)
    assert {store.status(g)["status"] for g in planned.groups} == {"ok"}
    publish(store, planned, tmp_path / "results")
    policy = load_policy("tag iql@lbf/8x8-2p-2f-coop-v1", results=tmp_path / "results")
    assert [x["kind"] for x in policy.spec()["tenants"].values()] == ["q"]
