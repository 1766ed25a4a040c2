"""The consensus transformer: its forward pass, its joint ratio, and that no order of agents plays a part."""

from __future__ import annotations

from math import cos, sin
from typing import Any

import pytest
import torch
from tiny import LBF, SMOOTH, SPREAD, learner
from torch import Tensor
from torch.nn.functional import layer_norm

from rlnet_bench.learning.ppo import Batch
from rlnet_bench.networks.cmat import joint_ratio, positions


def made_of(task: str = SPREAD, seeds: tuple[int, ...] = (0, 1), width: int = 8, **more: Any) -> Any:
    sizes = {
        "encoder.action": {"continuous": width, "per_subordinate": True},
        "consensus.action": {"continuous": width},
    }
    made = learner("zoo/cmat", task, seeds, share_parameters=True, **sizes, **more)
    for name, tensor in made.actor.state_dict().items():
        if name.startswith(("choice", "gate")):
            tensor.mul_(100)
    return made


def test_positions_by_hand() -> None:
    found = positions(3, 4)
    for k in range(3):
        expected = [sin(k), cos(k), sin(k / 100), cos(k / 100)]
        assert found[k].tolist() == pytest.approx(expected, abs=1e-6)
    assert positions(2, 3).shape == (2, 3)


def test_the_forward_pass_by_hand() -> None:
    """One replica, one block, one head, written out with matrices."""
    made = made_of(seeds=(3,))
    w = {name: tensor[0] for name, tensor in made.actor.state_dict().items()}
    x = torch.randn(1, 1, 3, made.actor.width, generator=torch.Generator().manual_seed(0))

    def mlp(name: str, x: Tensor, activation: Any = torch.tanh) -> Tensor:
        last = max(int(k.rpartition(".")[2]) for k in w if k.startswith(f"{name}.weight."))
        for k in range(last + 1):
            x = x @ w[f"{name}.weight.{k}"] + w[f"{name}.bias.{k}"][0]
            x = activation(x) if k < last else x
        return x

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:]) * w[f"{name}.scale"] + w[f"{name}.shift"]

    def attend(name: str, to: Tensor, of: Tensor, causal: bool) -> Tensor:
        q, k, v = mlp(f"{name}.query", to), mlp(f"{name}.key", of), mlp(f"{name}.value", of)
        score = q @ k.T / 8**0.5
        if causal:
            score = score.masked_fill(torch.ones(len(to), len(of)).triu(1).bool(), float("-inf"))
        return mlp(f"{name}.out", score.softmax(dim=-1) @ v)

    z = norm("observed_norm", torch.tanh(mlp("observed", x[0, 0])))
    z = norm("encoder.0.attention_norm", z + attend("encoder.0.attention", z, z, causal=False))
    z = norm("encoder.0.mlp_norm", z + mlp("encoder.0.mlp", z))
    view = mlp("view", z).softmax(dim=0)  # over agents
    p = mlp("pooled", (view.T @ z).flatten()[None])
    tokens = p
    for k in range(1, 4):
        y = tokens + positions(3, 8)[:k]
        y = norm("decoder.0.attention_norm", y + attend("decoder.0.attention", y, y, causal=True))
        y = norm("decoder.0.cross_norm", y + attend("decoder.0.cross", y, z, causal=False))
        y = norm("decoder.0.mlp_norm", y + mlp("decoder.0.mlp", y))
        tokens = torch.cat((tokens, mlp("token", y[-1:])))
    gate = mlp("gate", tokens).softmax(dim=0)
    assert tokens.shape == (4, 8) and float(gate.max() - gate.min()) > 0.05
    consensus = (gate * tokens).sum(dim=0)
    logits = mlp("choice", torch.cat((z, consensus.expand(3, -1)), dim=1))
    with torch.no_grad():
        torch.testing.assert_close(made.actor.network(x)[0, 0], logits, atol=1e-5, rtol=1e-4)
        v = {name: tensor[0] for name, tensor in made.critic.state_dict().items()}
        value = torch.tanh(p @ v["weight.0"] + v["bias.0"][0]) @ v["weight.1"] + v["bias.1"][0]
        torch.testing.assert_close(made.critic(x).flatten(), value.flatten(), atol=1e-5, rtol=1e-4)


def test_no_order_of_agents_plays_a_part() -> None:
    """But for their ids, which are part of what is read: agents that change places change actions, and nothing else."""
    network = made_of().actor.network
    x = torch.randn(2, 5, 3, network.parts["observed"].mlp.sizes[0], generator=torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        torch.testing.assert_close(network(x[:, :, order]), network(x)[:, :, order], atol=1e-3, rtol=0)  # float32


def test_the_ratio_is_the_joint_actions_and_the_dead_have_no_part() -> None:
    old, new = torch.tensor([[[-1.0, -2.0, -3.0]]]), torch.tensor([[[-1.5, -1.0, -3.25]]])
    assert float(joint_ratio(new, {"log_p": old})) == pytest.approx(torch.tensor(0.25).exp().item())
    alive = torch.tensor([[[1.0, 0.0, 1.0]]])
    assert float(joint_ratio(new, {"log_p": old, "alive": alive})) == pytest.approx(torch.tensor(-0.75).exp().item())


@pytest.mark.parametrize("task", [SPREAD, SMOOTH, LBF])
def test_with_the_weights_that_acted_every_ratio_is_one(task: str) -> None:
    made = made_of(task)
    made.collect()
    t, r, b, _ = made.rollout.shape
    rows = {k: v.unflatten(0, (t, r, b)).transpose(0, 1).flatten(1, 2) for k, v in made.rollout.rows().items()}
    log_p, _ = made.actor.evaluate(rows)
    torch.testing.assert_close(joint_ratio(log_p.detach(), rows), torch.ones(r, t * b, 1), atol=1e-3, rtol=0)


def test_gradients_reach_every_part_and_equal_finite_differences() -> None:
    made = made_of(seeds=(0,), entropy_weight=0.1)
    made.collect()
    data = made.estimate()
    for p in (*made.actor.parameters(), *made.critic.parameters()):
        p.data = p.data.double()
    made.actor.network.place = made.actor.network.place.double()
    rows = {k: v[:6][None] for k, v in data.items()}
    batch = Batch({k: v.double() if v.is_floating_point() else v for k, v in rows.items()}, 6)
    made.loss(batch).total.sum().backward()
    named = dict(made.actor.named_parameters())
    still = [n for n, p in named.items() if p.grad is None or not p.grad.any()]
    assert all(n.endswith(("key.bias.0", "view.bias.1", "gate.bias.1")) for n in still), still  # a softmax forgets them
    for name in (
        "observed.weight.0",
        "view.weight.0",
        "decoder.0.cross.query.weight.0",
        "token.weight.0",
        "gate.weight.0",
    ):
        flat, gradient = named[name].data.view(-1), named[name].grad.view(-1)
        for i in gradient.abs().topk(2).indices.tolist():
            kept, found = float(flat[i]), []
            for step in (1e-6, -1e-6):
                flat[i] = kept + step
                with torch.no_grad():
                    found.append(float(made.loss(batch).total.sum()))
            flat[i] = kept
            assert (found[0] - found[1]) / 2e-6 == pytest.approx(float(gradient[i]), rel=1e-3, abs=1e-7), name


def test_the_value_is_the_teams_whatever_the_rewards() -> None:
    for reward in ("team_mean", "individual"):
        made = made_of()
        made.team_reward = reward == "team_mean"
        metrics = made.iterate()
        assert all(bool(m.isfinite().all()) for m in metrics.values())
        assert made.critic(torch.zeros(2, 5, 3, made.actor.width)).shape == (2, 5, 1, 1)
