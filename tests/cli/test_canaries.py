"""Foreign stores, publications, suites and networks that name code: no verb runs any of it unless it is trusted.

A canary stands behind every door, where a verb that imported or called it would find it; it sings by touching a file.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from said import Run

import rlnet_bench as rb
from rlnet_bench import trust
from rlnet_bench.networks.build import load_network
from rlnet_bench.runs.files import read_mapping, write_atomic
from rlnet_bench.runs.loop import run_group
from rlnet_bench.runs.plan import Group, Plan, make_plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.records import run_id
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import MethodEntry, Suite
from rlnet_bench.trust import Untrusted

SPREAD = "mpe/simple_spread-discrete-v1"
SINGS = "import pathlib\npathlib.Path(__file__).with_name('sang').touch()\n"
BASE = {
    "name": "s", "tasks": [SPREAD], "methods": ["random", "uncoordinated"], "seeds": 5, "budget": {"frames": 100},
    "evaluation": {"episodes": 2, "absolute_episodes": 2},
}  # fmt: skip

# What a record names -> (its task, its method, the learner of a vertex of its network); FOLDER holds the canaries.
DOORS = {
    "a command": ("subprocess:getoutput?cmd=touch sang", None, None),
    "a module": ("canary_env:make", None, None),
    "a file's task": ("canary.py:make?horizon=3", None, None),
    "a file's task, with its folder": ("FOLDER/canary.py:make", None, None),
    "a scenario": ("vmas:canary.py", None, None),
    "a scenario with arguments": ("vmas:FOLDER/canary.py:n=2", None, None),
    "a method": (None, "canary.py:Canary", None),
    "a method, with its folder": (None, "FOLDER/canary.py:Canary", None),
    "a vertex": (None, None, "method:canary.py:Canary"),
}
SLOW = {"a module", "a file's task, with its folder", "a scenario with arguments", "a method, with its folder"}
ONE_OF_EACH = [pytest.param(door, marks=[pytest.mark.slow] if door in SLOW else []) for door in DOORS]
VERTEX = pytest.param("a vertex", marks=pytest.mark.slow)  # a network counts as trained: intervals and tests are drawn
READING = [
    "table SOURCE", "table SOURCE --which aggregate", "table SOURCE --format latex", "stats SOURCE", "rank SOURCE",
    "compare uncoordinated other SOURCE", "sensitivity SOURCE", "power SOURCE", "lint SOURCE", "export SOURCE --force",
    "export SOURCE --format csv --force", "report SOURCE --out page",
]  # fmt: skip
OF_STORES = ["status --store SOURCE", "publish SOURCE", "store check --store SOURCE", "store compact --store SOURCE",
             "store list --store SOURCE", "table SOURCE"]  # fmt: skip
RUNNING = [
    "resume --store SOURCE", "work SOURCE", "evaluate RUN --episodes 2", "ablate RUN --episodes 2", "reproduce RUN",
    "evaluate RUN --episodes 2 --referee reference", "plan suite.yaml", "run suite.yaml --workers 1",
]  # fmt: skip


@dataclass
class Forged:
    """A finished store, and its publication, in which a cell names code."""

    store: Path
    published: Path
    run: Path  # of that cell


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan]:
    """A finished store of controls."""
    root = tmp_path_factory.mktemp("honest")
    store, plan = Store.create(root / "store"), make_plan(Suite.model_validate(BASE))
    store.add_plan(plan)
    for group in plan.groups:
        lease = store.claim(group)
        assert lease is not None
        ended = run_group(store.folder(group), group.config)
        write_atomic(store.folder(group) / "provenance.json", "{}\n")
        store.set_status(group, "ok", ended.seeds, divergences=[])
        lease.release()
    return store, plan


@pytest.fixture(autouse=True)
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty folder with canaries, where everything is looked up; nobody trusts anything."""
    monkeypatch.setattr(trust, "_trusted", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "canary.py").write_text(SINGS)
    (tmp_path / "canary_env.py").write_text(SINGS)
    yield tmp_path
    assert not (tmp_path / "sang").exists(), "a canary sang"
    assert not {"canary", "canary_env"} & set(sys.modules)


@pytest.fixture
def typed(run: Run) -> Callable[[str], tuple[int, str]]:
    """Run a command as it is typed."""
    return lambda text: run(*text.split())


def forged(honest: tuple[Store, Plan], folder: Path, door: str, described: bool = False) -> Forged:
    """A copy of the honest store in which one method's runs name code, as its publisher would have made it."""
    task, method, learner = (None if x is None else x.replace("FOLDER", str(folder)) for x in DOORS[door])
    source, plan = honest
    store = Store.create(folder / "store")
    groups = []
    for group in plan.groups:
        config: dict[str, Any] = {**group.config, "task": task or SPREAD}
        if group.label == "uncoordinated" and method is not None:
            config |= {"label": "other", "method": method, "method_source": "0" * 16}
        elif group.label == "uncoordinated" and learner is not None:
            network = load_network("zoo/tag-3ppo").to_json()
            network["vertices"][0]["learner"] = learner
            config |= {"label": "other", "method": "network/net", "network": network}
        elif group.label == "uncoordinated":
            config |= {"label": "other"}
        said = {"method": {**group.described["method"], "summary": "anybody's"}} if described else {}
        new = Group(run_id(config), config, said)
        shutil.copytree(source.folder(group), store.folder(new))
        (store.folder(new) / "description.json").unlink()
        write_atomic(store.folder(new) / "config.json", json.dumps(config))
        groups.append(new)
    other = next(g for g in groups if g.label == "other")
    named = {"network": "net.yaml"} if learner else {"id": method or "uncoordinated"}
    suite = plan.suite.model_copy(update={
        "tasks": [task or SPREAD],
        "methods": [MethodEntry(id="random"), MethodEntry.model_validate({**named, "label": "other"})],
    })  # fmt: skip
    forgery = Plan(suite, tuple(groups))
    store.add_plan(forgery)
    written = suite.model_dump(mode="json", exclude_defaults=True)
    if learner:
        (folder / "net.yaml").write_text(
            f"name: net\nvertices:\n  boss: {{action: {{continuous: 2}}, learner: '{learner}'}}\n"
            "  motor: {per_agent: true}\nedges: [boss -> motor]\n"
        )
    (folder / "suite.yaml").write_text(json.dumps(written))
    publish(store, forgery, folder / "results", weights=False)
    return Forged(store.root, folder / "results" / "s-v1", store.folder(other))


@pytest.mark.parametrize("door", [*(x for x in ONE_OF_EACH if x.values != ("a vertex",)), VERTEX])
def test_reading_runs_nothing(
    honest: tuple[Store, Plan], listening: Path, typed: Callable[[str], tuple[int, str]], door: str
) -> None:
    made = forged(honest, listening, door)
    for source in (made.store, made.published):
        for line in READING:
            code, said = typed(line.replace("SOURCE", str(source)))
            assert code in (0, 1, 2), said
            assert "--trust-code" not in said, (line, said)
            if line.startswith(("table", "report", "export")):
                assert code == 0, (line, said)
    for line in OF_STORES:
        code, said = typed(line.replace("SOURCE", str(made.store)))
        assert code == 0, (line, said)
    results = rb.load_results(made.published)
    assert {m.label for m in results.methods} == {"random", "other"} and len(results.scores()) == 2


@pytest.mark.parametrize("door", ONE_OF_EACH)
def test_running_asks_first(
    honest: tuple[Store, Plan], listening: Path, typed: Callable[[str], tuple[int, str]], door: str
) -> None:
    made = forged(honest, listening, door)
    for line in RUNNING:
        code, said = typed(line.replace("SOURCE", str(made.store)).replace("RUN", str(made.run)))
        assert code == 2 and said.count("\n") == 1, (line, said)
        assert "is code" in said and "--trust-code" in said, (line, said)
        name = "suite.yaml" if "suite.yaml" in line else str(made.store)
        assert said.startswith((f"rlnet-bench: {name}", "rlnet-bench: net.yaml: ")), (line, said)
    with pytest.raises(Untrusted, match="is code"):
        rb.run("suite.yaml", store=listening / "new")
    if DOORS[door][0] is None:
        with pytest.raises(Untrusted, match="is code"):
            rb.load_policy(made.run, seed=0)


def test_a_record_names_a_digest_and_another_file_is_refused_even_when_trusted(
    honest: tuple[Store, Plan], listening: Path, typed: Callable[[str], tuple[int, str]]
) -> None:
    made = forged(honest, listening, "a method")
    for line in ("evaluate RUN --episodes 2 --trust-code", "resume --store SOURCE --trust-code",
                 "reproduce RUN --method canary.py:Canary", "work SOURCE --method canary.py:Canary"):  # fmt: skip
        code, said = typed(line.replace("SOURCE", str(made.store)).replace("RUN", str(made.run)))
        assert code == 2 and "was the file with sha256 0000000000000000" in said, (line, said)


def test_a_described_card_must_have_the_recorded_digest(
    honest: tuple[Store, Plan], listening: Path, typed: Callable[[str], tuple[int, str]]
) -> None:
    """Whoever describes his task may not bring another floor than the one that the run id stands for."""
    made = forged(honest, listening, "a module", described=True)
    card = rb.task_card(SPREAD).to_json() | {"id": "canary_env:make", "floor": 1e9}
    for file in (made.store / "suites" / "s-v1.json", made.published / "suite.json"):
        data = read_mapping(file)
        data["groups"][0]["described"]["task"] = card
        file.write_text(json.dumps(data))
    for source in (made.store, made.published):
        code, said = typed(f"table {source}")
        assert code == 2 and "described: task: expected the card with the digest" in said


def test_what_the_catalogue_knows_it_knows_better(honest: tuple[Store, Plan], listening: Path) -> None:
    """A catalogued task with another digest is another task: its numbers are not shown under this name."""
    source, plan = honest
    store = Store.create(listening / "store")
    groups = []
    for group in plan.groups:
        config = {**group.config, "task_hash": "0" * 64}
        new = Group(run_id(config), config)
        shutil.copytree(source.folder(group), store.folder(new))
        (store.folder(new) / "description.json").unlink()
        write_atomic(store.folder(new) / "config.json", json.dumps(config))
        groups.append(new)
    store.add_plan(Plan(plan.suite, tuple(groups)))
    results = rb.load_results(store.root)
    assert results.card(SPREAD) == rb.task_card(SPREAD)
    assert all(r.damaged and "another version of" in r.reason and not r.evals for r in results.records)
    assert [set(s.runs[SPREAD].scores) for s in results.scores()] == [set(), set()]


def test_settings_of_another_version_do_not_make_a_record_unreadable(
    honest: tuple[Store, Plan], listening: Path
) -> None:
    """A key that was renamed, a method that is gone, a network whose language has changed."""
    source, plan = honest
    store = Store.create(listening / "store")
    groups = []
    for group, strange in zip(plan.groups, ({"settings": {"renamed": 1}}, {"method": "gone"}), strict=True):
        config = {**group.config, **strange}
        said = {"method": {**group.described["method"], "summary": "as it was", "training": "independent"}}
        new = Group(run_id(config), config, said)
        shutil.copytree(source.folder(group), store.folder(new))
        (store.folder(new) / "description.json").unlink()
        write_atomic(store.folder(new) / "config.json", json.dumps(config))
        groups.append(new)
    store.add_plan(Plan(plan.suite, tuple(groups)))
    found = rb.load_results(store.root)
    known, gone = found.methods
    assert known.training == "independent" and known.summary != "as it was"
    assert gone.summary == "as it was" and not gone.trains
    assert all(len(s.runs[SPREAD].scores) == 5 for s in found.scores())


def test_records_without_descriptions_show_what_is_unknown_as_unknown(
    honest: tuple[Store, Plan], listening: Path
) -> None:
    made = forged(honest, listening, "a module")
    results = rb.load_results(made.store)
    assert results.card("canary_env:make").faithful_to == "not known"
    assert results.card("canary_env:make").num_agents == 3  # as its lines show
    made = forged(honest, (listening / "again"), "a method") if (listening / "again").mkdir() is None else made
    (other,) = [m for m in rb.load_results(made.store).methods if m.label == "other"]
    assert (other.id, other.training, other.summary) == ("canary.py:Canary", "unknown", "")


def test_the_published_header_is_data(honest: tuple[Store, Plan], listening: Path) -> None:
    """What was forged is what a publication holds: the name stands in its header, too."""
    made = forged(honest, listening, "a command")
    heads = [json.loads(gzip.decompress(f.read_bytes()).splitlines()[0]) for f in made.published.glob("*/*.jsonl.gz")]
    assert {h["config"]["task"] for h in heads} == {DOORS["a command"][0]}
