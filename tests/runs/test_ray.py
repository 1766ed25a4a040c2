"""The Ray launcher on a real cluster of two nodes on this machine, one of which is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small

pytest.importorskip("ray", reason="no ray")

import ray
from ray.cluster_utils import Cluster

from rlnet_bench.errors import BadInput
from rlnet_bench.runs.check_launcher import check_launcher, compare_stores, tiny_plan
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.local_launch import LocalLauncher
from rlnet_bench.runs.ray_launch import RayLauncher
from rlnet_bench.runs.worker import work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"head": 1}})
    made.second = made.add_node(num_cpus=1, resources={"second": 1})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_ray_keeps_the_contract(cluster: Any) -> None:
    check_launcher(RayLauncher).raise_if_failed()


def test_what_no_node_has_is_refused(cluster: Any) -> None:
    with pytest.raises(
        BadInput, match=r"a worker needs 1 CPU, 0.5 GPU; the nodes of this cluster have at most .*0 GPU"
    ):
        make = RayLauncher(gpus=0.5)
        store, plan = small.store(Path(cluster.second.get_session_dir_path()) / "s")
        Workers(store, plan, 1, make).start()


def test_a_lost_node_and_mixed_engines_leave_the_same_records(cluster: Any, tmp_path: Path) -> None:
    plan = tiny_plan(frames=4000, seeds=3)
    calm, _ = small.store(tmp_path / "calm")
    disturbed, _ = small.store(tmp_path / "disturbed")
    for store in (calm, disturbed):
        store.add_plan(plan)
    work(calm, plan.groups)
    local = Workers(disturbed, plan, 1, LocalLauncher())
    remote = Workers(disturbed, plan, 2, RayLauncher())
    lost: list[str] = []

    def lose_the_second_node() -> None:
        started = [g for g in plan.groups if (disturbed.folder(g) / "evals.jsonl").exists()]
        if len(started) == len(plan.groups) and not lost:
            cluster.remove_node(cluster.second, allow_graceful=False)
            lost.append("second")

    remote.start()
    local.start()
    remote.wait(lose_the_second_node)
    local.wait(lambda: None)
    assert lost
    killed = [g.run_id for g in plan.groups]  # which of them was on the lost node is Ray's choice
    assert compare_stores(calm, disturbed, plan, killed) == []
    assert sum(disturbed.status(g)["attempts"] for g in plan.groups) <= len(plan.groups) + 1


DRIVER = """
import sys
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.ray_launch import RayLauncher
from rlnet_bench.runs.store import Store

store = Store(sys.argv[1])
workers = Workers(store, store.plan(), 1, RayLauncher(address=sys.argv[2]))
workers.start()
workers.wait(lambda: None)
"""


def test_workers_on_a_cluster_go_on_without_their_driver(cluster: Any, tmp_path: Path) -> None:
    plan = tiny_plan(frames=12_000, seeds=1)
    store, _ = small.store(tmp_path / "s")
    calm, _ = small.store(tmp_path / "calm")
    for each in (store, calm):
        each.add_plan(plan)
    (group,) = plan.groups
    (store.root / "suites" / "small-v1.json").unlink()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(store.root), cluster.address])
    wait_until(lambda: (store.folder(group) / "progress.json").exists())
    driver.kill()
    driver.wait()
    assert store.status(group)["status"] == "running"
    wait_until(lambda: store.status(group)["status"] == "ok")
    assert store.status(group)["attempts"] == 1
    work(calm, plan.groups)
    assert compare_stores(calm, store, plan, []) == []


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
