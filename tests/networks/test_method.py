"""Networks as methods: names, settings, refusals, the public conformance test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import LBF, MIXED, SPREAD

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, ImpossibleCell, UnknownName
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import check_possible
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.build import learned as learned_message
from rlnet_bench.networks.method import NetworkConfig, method_from_json, network_method
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.check import check_method

CHECKED = [("zoo/tag-3ppo", SPREAD), ("zoo/tag-3ppo", LBF), ("zoo/tag-3ppo", MIXED), ("zoo/tag-mixed", LBF)]
MORE = [(f"zoo/{n}", t) for n in ("action-graph", "bayes-net", "tag-3ppo-comm", "lead-critic") for t in (LBF, MIXED)]
MORE += [(f"zoo/{n}", t) for n in ("hammer", "cmat", "learned-graph") for t in (LBF, MIXED)]


def test_a_network_is_a_method() -> None:
    method, data = network_method("zoo/tag-3ppo")
    assert (method.id, method.version, method.training) == ("zoo/tag-3ppo", 3, "independent")
    assert method_from_json(data) is method
    assert network_method("zoo/consensus")[0].training == "gradients across agents"
    assert network_method("zoo/tag-mappo-ppo")[0].training == "centralised critic"


def test_a_file_is_a_method_under_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: tag-3ppo\nvertices:\n  motor: {per_agent: true}\n")
    assert network_method(str(file))[0].id == "network/tag-3ppo"
    with pytest.raises(UnknownName, match="Did you mean"):
        network_method("zoo/tag-3pp")


def test_settings_are_those_of_ppo() -> None:
    method, _ = network_method("zoo/flat")
    assert method.configure({"gamma": 0.5}).model_dump()["gamma"] == 0.5
    assert NetworkConfig().share_parameters is PpoConfig().share_parameters is True
    with pytest.raises(BadInput, match="observe"):
        method.configure({"observe": "all"})


def _boss(**fields: object) -> Network:
    return Network("refused").vertex("boss", **{"action": continuous(2), **fields})


REFUSED = {
    "`learner: ppo`": _boss(learner="method:ippo").motors("motor").edge("boss", "motor"),
    "it has no superior": _boss(reward="superior_advantage").motors("motor").edge("boss", "motor"),
    "with period 1, found ppo with period 2": (
        _boss(period=2).motors("motor", reward="superior_advantage").edge("boss", "motor")
    ),
    "difference": _boss(reward="difference").motors("motor").edge("boss", "motor"),
    "period 1": _boss(gradient="through", period=2).motors("motor").edge("boss", "motor"),
    "over a delay": _boss(gradient="through").motors("motor").edge("boss", "motor", delay=1),
    "acts every 2 steps": (
        _boss(period=2).motors("motor", message=learned_message(2), gradient="through").edge("boss", "motor")
    ),
    "no gradient can pass its `mean`": (
        _boss(message="mean", gradient="through")
        .motors("motor", message=learned_message(2), gradient="through")
        .vertex("top", action=continuous(2))
        .edge("top", "boss")
        .edge("boss", "motor")
    ),
    "another level": (
        _boss(group="one", message="none").vertex("top", action=continuous(2), group="one", message="none", period=2)
        .motors("motor").edge("boss", "motor").edge("top", "motor")
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_trained_is_refused_by_name(words: str) -> None:
    method = method_from_json(REFUSED[words].build().to_json())
    with pytest.raises(ImpossibleCell) as error:
        check_possible(method, task_card(SPREAD), method.configure({}))
    assert words in str(error.value)
    assert "vertex 'boss'" in str(error.value) or "vertex 'motor" in str(error.value) or "'top'" in str(error.value)


def test_a_network_that_does_not_fit_is_an_impossible_cell() -> None:
    spec = NetworkSpec.from_yaml("name: three\nvertices:\n  motor: {per_agent: [0, 1, 2]}\n")
    method = method_from_json(spec.to_json())
    with pytest.raises(ImpossibleCell, match="names agent 2"):
        check_possible(method, task_card(LBF), method.configure({}))


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from rlnet_bench.networks.method import network_method; from rlnet_bench.envs.registry import "
        "task_card; m, _ = network_method('zoo/bayes-net'); assert m.impossible(task_card('lbf/8x8-2p-2f-coop-v1'), "
        "m.configure({})) is None; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), CHECKED + MORE)
def test_conformance(name: str, task: str) -> None:
    check_method(name, task, faults=1).raise_if_failed()
