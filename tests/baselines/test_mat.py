"""The multi-agent transformer: its probabilities are a product along the agents, and its attention is attention."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.attention import Attention, Norm
from rlnet_bench.learning.information import execution_class, information_flow
from rlnet_bench.methods import find_method

SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-{}-v1"
TINY: dict[str, Any] = {"num_envs": 4, "rollout_steps": 10, "width": 8, "attention_heads": 2, "critic_hidden": [8]}


def learner(task: str = SPREAD, seeds: tuple[int, ...] = (0, 1), **settings: Any) -> Any:
    found = find_method("mat")
    config = found.configure({**TINY, **settings})
    made = found.learner_class()(
        make_env(task, 4 * len(seeds)), seeds, config, training_reward="team_mean", total_frames=4000
    )
    made.actor.network.parts["choice"].mlp.weights[-1].data.mul_(100.0)  # far from uniform
    return made


@pytest.mark.parametrize("task", [SPREAD, SPEAKER.format("discrete"), SPEAKER.format("continuous")])
@pytest.mark.parametrize("blocks", [1, 2])
def test_acting_one_by_one_and_learning_at_once_say_the_same(task: str, blocks: int) -> None:
    """The log probability of sequential ratios: with the weights that acted every ratio is 1."""
    made = learner(task, blocks=blocks)
    made.collect()
    rows = {name: x.unflatten(0, (10, 2, 4)).transpose(0, 1).flatten(1, 2) for name, x in made.rollout.rows().items()}
    log_p, _ = made.actor.evaluate(rows)
    torch.testing.assert_close(log_p.detach(), rows["log_p"], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        for p in made.actor.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    ratio = torch.exp(made.actor.evaluate(rows)[0] - rows["log_p"]).detach()
    assert float((ratio - 1).abs().max()) > 0.05


def test_joint_probabilities_sum_to_one_and_sampling_follows_them() -> None:
    made = learner(seeds=(0,))
    x = torch.randn(1, 1, 3, made.actor.width, generator=torch.Generator().manual_seed(3))
    every = torch.tensor(list(itertools.product(range(5), repeat=3)))[None]  # [1, 125, 3]
    log_p = made.actor.evaluate({"features": x.expand(-1, 125, -1, -1), "actions": every})[0].sum(dim=2)[0].detach()
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    rows = 20_000
    noise = torch.rand(1, rows, 3, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        _, raw, _ = made.actor.choose(x.expand(-1, rows, -1, -1), torch.zeros(0), None, noise)
    counts = torch.bincount((raw[0] * torch.tensor([25, 5, 1])).sum(dim=1), minlength=125) / rows
    assert float((counts - log_p.exp()).abs().max()) < 0.02
    apart = [log_p.exp().view(5, 5, 5).sum(dim=tuple(d for d in range(3) if d != i)) for i in range(3)]
    product = apart[0][:, None, None] * apart[1][None, :, None] * apart[2][None, None]
    assert float((product - log_p.exp().view(5, 5, 5)).abs().max()) > 1e-3  # agents do not choose independently


def test_an_agent_knows_the_actions_before_its_own_and_no_other() -> None:
    made = learner()
    network = made.actor.network
    z, raw = torch.randn(2, 5, 3, 8), torch.randint(0, 5, (2, 5, 3))
    base = network.decode(z, raw)
    for j in range(3):
        other = raw.clone()
        other[:, :, j] = (other[:, :, j] + 1) % 5
        moved = (network.decode(z, other) - base).abs().amax(dim=(0, 1, 3)) > 1e-6
        assert moved.tolist() == [i > j for i in range(3)]


def test_the_encoder_reads_everybody_and_values_are_the_agents_own() -> None:
    made = learner()
    x = torch.randn(2, 5, 3, made.actor.width)
    value = made.critic(x)
    assert value.shape == (2, 5, 3, 1)
    other = x.clone()
    other[:, :, 2] += 1.0
    assert bool(((made.critic(other) - value).abs().amax(dim=(0, 1, 3)) > 1e-6).all())
    policy = made.policy()
    assert execution_class(policy, information_flow(policy, task_card(SPREAD))) == "C"


@pytest.mark.parametrize("causal", [True, False])
def test_attention_by_hand(causal: bool) -> None:
    """softmax(q k / sqrt(d)) v per head, every replica with its own products."""
    attention = Attention(4, 2, (11, 12))
    to, of = torch.randn(2, 3, 3, 4), torch.randn(2, 3, 3, 4)
    found = attention(to, of, causal)
    for r in range(2):
        weight = {name: part.mlp.weights[0][r] for name, part in attention.parts.items()}
        q, k, v = to[r] @ weight["query"], of[r] @ weight["key"], of[r] @ weight["value"]
        heads = []
        for head in (slice(0, 2), slice(2, 4)):
            score = q[..., head] @ k[..., head].transpose(1, 2) / 2**0.5
            if causal:
                score = score.masked_fill(torch.ones(3, 3).triu(1).bool(), float("-inf"))
            heads.append(score.softmax(dim=-1) @ v[..., head])
        torch.testing.assert_close(found[r], torch.cat(heads, dim=-1) @ weight["out"], atol=1e-5, rtol=1e-5)


def test_normalisation_is_per_token_and_scaled_per_replica() -> None:
    norm = Norm(4, 2)
    norm.scale.data[1], norm.shift.data[1] = 2.0, 1.0
    y = norm(torch.randn(2, 5, 3, 4) * 7 + 3)
    torch.testing.assert_close(y[0].mean(dim=-1), torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[1].mean(dim=-1), torch.ones(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[1].std(dim=-1, correction=0), torch.full((5, 3), 2.0), atol=1e-2, rtol=0)


def test_heads_must_share_the_width() -> None:
    with pytest.raises(Exception, match=r"width: expected a multiple of attention_heads = 3, found 8"):
        find_method("mat").configure({**TINY, "attention_heads": 3})
