"""What the guide to writing a learner says can be done is done here: its first listing, and a network that talks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rlnet_bench.runs.check import check_method

GUIDE = Path(__file__).parent.parent.parent / "docs" / "own-learner.md"
RULES = ["learner_contract", "acting", "rebuilt_policy", "state_continues_to_the_bit", "divergence_freezes_one"]


def test_the_update_rule_of_the_guide_keeps_the_contract(tmp_path: Path) -> None:
    listing = re.search(r"```python\n(# my_model.py\n.*?)```", GUIDE.read_text(), re.DOTALL)
    assert listing is not None
    (tmp_path / "my_model.py").write_text(listing[1])
    check_method(f"{tmp_path}/my_model.py:Mine", seeds=(0, 1), only=RULES).raise_if_failed()


TALKS = '''
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Method, find_method, register


def talking_actor(card, spec, seeds, device):
    """Every agent reads its own features and the mean of what the others say."""
    import torch

    from rlnet_bench.learning.actor import Actor, ActorSpec
    from rlnet_bench.learning.agents import AgentNetwork
    from rlnet_bench.learning.stacked import StackedMLP, copy_keys

    class Talking(AgentNetwork):
        def __init__(self, width, outputs):
            super().__init__((width + 4, *spec.hidden, outputs), copy_keys(seeds, 1, 32), len(seeds), card.num_agents,
                             output_gain=0.01, device=device)
            self.says = StackedMLP((width, 4), copy_keys(seeds, 1, 33), device=device)

        def __call__(self, x):
            said = torch.tanh(self.says(x.flatten(1, 2))).unflatten(1, x.shape[1:3])
            heard = (said.sum(dim=2, keepdim=True) - said) / (self.agents - 1)
            return super().__call__(torch.cat((x, heard), dim=-1))

        def named_parameters(self):
            yield from super().named_parameters()
            yield from ((f"says.{name}", p) for name, p in self.says.named_parameters())

    spec = ActorSpec.from_json(spec)
    outputs = sum(card.action_factors) if card.action_factors else card.action_size
    return Actor(card, spec, seeds, device, network=Talking(spec.features(card), outputs))


@register("talks", version=1, summary="IPPO whose actors talk", Config=PpoConfig, training="gradients across agents")
class Talks(Method):
    @classmethod
    def learner_class(cls):
        from rlnet_bench.learning.actor import ActorSpec

        class TalkingLearner(find_method("ippo").learner_class()):
            def make_actor(self):
                return talking_actor(self.env.card, ActorSpec.of(self.config).to_json(), self.seeds, self.device)

        return TalkingLearner

    @classmethod
    def rebuild(cls, spec, card, seeds, device="cpu"):
        from rlnet_bench.learning.policy import ActorPolicy

        return ActorPolicy(talking_actor(card, spec["actor"], seeds, device))
'''


@pytest.mark.parametrize("task", ["mpe/simple_spread-discrete-v1", "mpe/simple_spread-continuous-v1"])
def test_a_network_of_one_s_own_is_trained_saved_and_measured(task: str, tmp_path: Path) -> None:
    from rlnet_bench.learning.channel import degraded
    from rlnet_bench.runs.check import _config
    from rlnet_bench.runs.loop import build_learner

    file = tmp_path / "talks.py"
    file.write_text(TALKS)
    name = f"{file}:Talks"
    check_method(name, task, seeds=(0, 1), only=[*RULES, "replica_alone_or_in_a_batch"]).raise_if_failed()
    card, learner = build_learner({**_config(name, task, {}, (0, 1), "team_mean", "cpu"), "frames": 400})
    policy: Any = learner.policy()
    for tensor in policy.state_dict().values():
        tensor.mul_(4)  # loud enough to be seen
    assert [kind for kind, _ in degraded(policy, card)][:2] == ["decentralised", "delay-1"]
