"""Code is imported only where somebody trusted it; canaries show what was."""

from __future__ import annotations

import hashlib
import os
import py_compile
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlnet_bench as rb
from rlnet_bench import trust
from rlnet_bench.envs import registry
from rlnet_bench.envs.pettingzoo.workers import ProcessCrew
from rlnet_bench.errors import BadInput
from rlnet_bench.methods import find_method
from rlnet_bench.runs.plan import make_plan, wanted
from rlnet_bench.runs.suite import Suite
from rlnet_bench.trust import Code, Untrusted, Wanted

SPREAD = "mpe/simple_spread-discrete-v1"
METHOD = """
import pathlib
pathlib.Path(__file__).with_name("sang").touch()
from rlnet_bench.methods import Method

class Mine(Method):
    "A user's."
"""
SINGS = "import pathlib\npathlib.Path(__file__).with_name('sang').touch()\n"


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every test begins with no code trusted, in an empty folder."""
    monkeypatch.setattr(trust, "_trusted", {})
    monkeypatch.chdir(tmp_path)
    yield


def doors(folder: Path) -> list[str]:
    """A canary behind every door, in ``folder``; each leaves ``sang`` there when it is imported or called."""
    (folder / "evil.py").write_text(METHOD)
    (folder / "evil_env.py").write_text(SINGS)
    (folder / "evil_scenario.py").write_text(SINGS)
    return [
        f"subprocess:getoutput?cmd=touch\\ {folder}/sang",
        "evil_env:make",
        f"{folder}/evil_env.py:make",
        f"vmas:{folder}/evil_scenario.py",
        f"vmas:{folder}/evil_scenario.py:n=2",
    ]


def suite(**changes: object) -> Suite:
    data = {"name": "s", "tasks": [SPREAD], "methods": ["random"], "seeds": 2, "budget": {"frames": 100}}
    return Suite.model_validate({**data, **changes})


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("ippo", None), ("mpe/simple_spread-discrete-v1", None), ("zoo/tag-3ppo", None), ("vmas:football", None),
        ("vmas:football:n=1", None), ("mpe/x?cmd=a:b", None), ("my.py:Mine", "my.py"), ("a/b.py:make?x=1:2", "a/b.py"),
        ("pkg.envs:make?n=3", "pkg.envs"), ("vmas:my.py", "my.py"), ("vmas:a/my.py:n=3", "a/my.py"),
    ],
)  # fmt: skip
def test_what_a_name_would_import_is_in_the_name(name: str, target: str | None) -> None:
    assert trust.target(name) == target
    if target is None:
        trust.ask([Wanted(name)], asked_by="x")  # nothing to decide


def test_no_door_opens_for_what_nobody_trusted(tmp_path: Path) -> None:
    for task in doors(tmp_path):
        for enter in (registry.task_card, lambda name: registry.make_env(name, 2)):
            with pytest.raises(Untrusted, match=r"is code .*nobody trusted"):
                enter(task)
        with pytest.raises(BadInput, match=r"s\.yaml: .* is code .*--trust-code") as error:
            make_plan(suite(tasks=[SPREAD, task]), asked_by="s.yaml")
        assert "\n" not in str(error.value)
    with pytest.raises(Untrusted):
        find_method(f"{tmp_path}/evil.py:Mine")
    with pytest.raises(BadInput, match=r"evil\.py:Mine' is code .*--trust-code"):
        make_plan(suite(methods=["ippo", f"{tmp_path}/evil.py:Mine"]))
    assert not (tmp_path / "sang").exists()


def test_a_method_at_a_vertex_of_a_network_is_a_door_too(tmp_path: Path) -> None:
    doors(tmp_path)
    (tmp_path / "net.yaml").write_text(
        "name: net\nvertices:\n"
        f"  boss: {{action: {{continuous: 2}}, learner: 'method:{tmp_path}/evil.py:Mine'}}\n"
        "  motor: {per_agent: true}\nedges: [boss -> motor]\n"
    )
    entry = [{"network": "net.yaml"}]
    with pytest.raises(BadInput, match=r"net\.yaml: .*evil\.py:Mine' is code .*--trust-code"):
        make_plan(suite(methods=entry))
    assert trust.at_vertices({"vertices": [{"learner": "method:ippo"}, {"learner": "ppo"}, {"learner": 3}]}) == []
    assert not (tmp_path / "sang").exists()


def test_a_forged_card_does_not_open_a_door(tmp_path: Path) -> None:
    import dataclasses

    card = registry.task_card("vmas/balance-continuous-v1")
    (tmp_path / "evil_scenario.py").write_text(SINGS)
    for scenario in ("evil_scenario.py", f"{tmp_path}/evil_scenario.py"):
        forged = dataclasses.replace(card, constructor={"scenario": scenario})
        with pytest.raises(BadInput):
            registry.make_env(forged, 2)
    forged = dataclasses.replace(card, id="evil_env:make", family="pettingzoo")
    for enter in (lambda: registry.make_env(forged, 2), lambda: ProcessCrew(forged, 2, 1)):
        with pytest.raises(Untrusted):
            enter()
    assert not (tmp_path / "sang").exists()


def test_what_the_caller_types_is_trusted_by_that_and_by_that_name_only(tmp_path: Path) -> None:
    doors(tmp_path)
    assert rb.find_method("evil.py:Mine").__name__ == "Mine"
    assert (tmp_path / "sang").exists()
    assert find_method("evil.py:Mine").source_hash == hashlib.sha256(METHOD.encode()).hexdigest()[:16]
    with pytest.raises(Untrusted):
        find_method(f"{tmp_path}/evil.py:Mine")
    with pytest.raises(Untrusted):
        find_method("evil.py:Other")


def test_a_file_is_named_with_its_digest_before_it_is_imported(tmp_path: Path) -> None:
    doors(tmp_path)
    said: list[str] = []

    def say(sentence: str) -> None:
        assert not (tmp_path / "sang").exists()
        said.append(sentence)

    trust.ask([Wanted("evil.py:Mine"), Wanted("ippo")], asked_by="s.yaml", trust_code=True, say=say)
    digest = hashlib.sha256(METHOD.encode()).hexdigest()
    assert said == [f"s.yaml names 'evil.py:Mine'; trusted: {tmp_path}/evil.py, sha256 {digest}"]
    find_method("evil.py:Mine")
    assert (tmp_path / "sang").exists()


def test_a_module_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "__init__.py").write_text(SINGS)
    (tmp_path / "bird" / "song.py").write_text("make = print\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    trust.typed("bird.song:make")
    code = trust.demand("bird.song:make")
    assert code.path == str(tmp_path / "bird" / "song.py") and not (tmp_path / "bird" / "sang").exists()
    (tmp_path / "bird" / "song.py").write_text("make = input\n")
    with pytest.raises(Untrusted, match="is not the one that was trusted"):
        trust.load(code)
    assert "bird" not in sys.modules


def test_exactly_the_trusted_bytes_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    good, bad = METHOD.replace("sang", "good"), METHOD.replace("sang", "evil")
    file.write_text(bad)
    py_compile.compile(str(file))  # a cache that claims to be of a file of this size and time
    stat = file.stat()
    file.write_text(good)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    trust.typed("mine.py:Mine")
    find_method("mine.py:Mine")
    assert (tmp_path / "good").exists() and not (tmp_path / "evil").exists()
    code = Code("mine.py:Mine", str(file), hashlib.sha256(b"other").hexdigest())
    with pytest.raises(Untrusted, match="changed since it was trusted"):
        trust.load(code)


def test_a_recorded_file_is_trusted_with_the_recorded_content_only(tmp_path: Path) -> None:
    doors(tmp_path)
    digest = hashlib.sha256(METHOD.encode()).hexdigest()
    want = Wanted("gone/evil.py:Mine", digest[:16])
    with pytest.raises(Untrusted, match=r"is not there; name the recorded file.*--method FILE\.py:Mine"):
        trust.ask([want], asked_by="run", trust_code=True)
    with pytest.raises(Untrusted, match=r"evil\.py has "):
        trust.ask([Wanted("evil.py:Mine", "0" * 16)], asked_by="run", trust_code=True)
    trust.typed("evil.py:Mine")
    with pytest.raises(Untrusted, match="give the file that was recorded"):
        trust.ask([Wanted("gone/evil.py:Mine", "0" * 16)], asked_by="run", given=["evil.py:Mine"])
    with pytest.raises(Untrusted, match="--trust-code"):
        trust.ask([Wanted("gone/evil.py:Other", digest)], asked_by="run", given=["evil.py:Mine"])
    assert not (tmp_path / "sang").exists()
    trust.ask([want], asked_by="run", given=["evil.py:Mine"])
    assert find_method("gone/evil.py:Mine", digest[:16]).__name__ == "Mine"


def test_two_files_of_one_name_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for folder in ("v1", "v2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.py").write_text(METHOD + f"    where = {folder!r}\n")
    names = ["v1/model.py:Mine", "v2/model.py:Mine"]
    trust.typed(*names)
    planned = make_plan(suite(methods=names))
    by_label = {g.label: g.config for g in planned.groups}
    assert [by_label[n]["method"] for n in names] == ["model.py:Mine"] * 2  # the folder is no part of a run's identity
    assert len({g.run_id for g in planned.groups}) == 2
    handed = trust.handed(wanted(planned.groups))
    assert [c.path for c in handed] == [str(tmp_path / f / "model.py") for f in ("v1", "v2")]
    trust._trusted.clear()  # as in a worker
    trust.accept(trust.from_text(trust.to_text(handed)))
    from rlnet_bench.runs.plan import method_of

    assert [method_of(by_label[n]).where for n in names] == ["v1", "v2"]  # type: ignore[attr-defined]


def test_a_moved_file_is_the_same_method(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    ids = []
    for name in ("model.py:Mine", "a/model.py:Mine", f"{tmp_path}/a/model.py:Mine"):
        (tmp_path / name.partition(":")[0]).write_text(METHOD)
        trust.typed(name)
        ids.append(make_plan(suite(methods=[name])).groups[0].run_id)
    assert len(set(ids)) == 1


def test_a_worker_imports_only_what_its_driver_hands_over(tmp_path: Path) -> None:
    """The command line of a worker with, without, and with other code than the plan names."""
    from rlnet_bench.runs.launch import Job
    from rlnet_bench.runs.store import Store

    (tmp_path / "mine.py").write_text(
        SINGS + "from rlnet_bench.baselines.random_policy import RandomMethod\nclass Mine(RandomMethod):\n    pass\n"
    )
    trust.typed("mine.py:Mine")
    plan = make_plan(suite(methods=["mine.py:Mine"], evaluation={"episodes": 2, "absolute_episodes": 2}))
    (tmp_path / "sang").unlink()
    store = Store.create(tmp_path / "store")
    store.add_plan(plan)
    code = trust.handed(wanted(plan.groups))
    other = tuple(Code(c.name, c.path, hashlib.sha256(b"other").hexdigest()) for c in code)
    for handed in ((), other, code):
        job = Job(str(store.root), "s-v1", plan=store.keep_plan(plan), code=handed)
        command = [sys.executable, "-P", "-m", "rlnet_bench.runs.worker", *job.arguments()]
        environment = {**os.environ, "PYTHONPATH": trust.search_path(), **job.environment()}
        subprocess.run(command, env=environment, cwd=tmp_path, timeout=120, capture_output=True)
        status = store.status(plan.groups[0])
        assert (tmp_path / "sang").exists() == (handed == code) == (status["status"] == "ok"), status
        store.retry(plan.groups[0])
