"""Training at every vertex: equality with IPPO, gradients over edges, rewards, intervals, resuming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import LBF, MIXED, SMOOTH, SPREAD, WORDS, differing, learner, random_network, trained, weights

from rlnet_bench.learning.ppo import Batch
from rlnet_bench.learning.returns import gae, intervals, next_values
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.losses import cluster_loss
from rlnet_bench.runs.checkpoint import flatten, unflatten


@pytest.mark.parametrize("reward", ["team_mean", "individual"])
@pytest.mark.parametrize("task", [SPREAD, SMOOTH, MIXED, WORDS, LBF])
@pytest.mark.parametrize("share", [False, True])
def test_flat_is_ippo_to_the_bit(task: str, reward: str, share: bool) -> None:
    ours = learner("zoo/flat", task, (3, 5), reward, rollout_steps=30, share_parameters=share)
    theirs = learner("ippo", task, (3, 5), reward, rollout_steps=30, share_parameters=share)
    for _ in range(3):
        mine, other = ours.iterate(), theirs.iterate()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[k], other[k]) for k in mine)
    assert differing(weights(ours), weights(theirs)) == []


def test_motors_over_the_state_are_mappo_to_the_bit() -> None:
    spec = Network("central").motors("motor", critic="global").build()
    ours = trained(3, spec, SPREAD, rollout_steps=30)
    theirs = trained(3, "mappo", SPREAD, rollout_steps=30, share_parameters=False)
    assert differing(weights(ours), weights(theirs)) == []


@pytest.mark.parametrize("task", [SPREAD, SMOOTH, LBF])
@pytest.mark.parametrize("share", [False, True])
def test_motors_that_remember_are_recurrent_ippo_to_the_bit(task: str, share: bool) -> None:
    """Episodes end within the second rollout; LBF's agents see masks."""
    spec = Network("rememberers").motors("motor", memory="gru").build()
    ours = trained(3, spec, task, rollout_steps=20, share_parameters=share)
    theirs = trained(3, "ippo", task, rollout_steps=20, share_parameters=share, memory="gru")
    assert differing(weights(ours), weights(theirs)) == []
    spec = Network("central").motors("motor", memory="gru", critic="global").build()
    ours, theirs = (trained(2, x, task, rollout_steps=20, **y) for x, y in (
        (spec, {}), ("mappo", {"share_parameters": False, "memory": "gru"})))  # fmt: skip
    assert differing(weights(ours), weights(theirs)) == []


def test_an_ignored_chain_changes_no_motor() -> None:
    chain = (
        Network("chained")
        .vertex("a", action=continuous(3), message="none", period=2)
        .vertex("b", action=continuous(3), message="none")
        .motors("motor", message="identity")
        .edge("a", "b", weight=0)
        .edge("a", "motor")
        .edge("b", "motor", weight=0)
    )
    with_b = trained(3, chain.build())
    plain = Network("plain").vertex("a", action=continuous(3), message="none", period=2).motors("motor")
    without = trained(3, plain.edge("a", "motor").build())
    assert differing(weights(with_b), weights(without)) == []


@pytest.mark.parametrize("name", ["zoo/tag-3ppo-comm", "zoo/bridged-3ppo", "zoo/leader-follower", "zoo/diamond"])
def test_with_stop_no_gradient_crosses_an_edge(name: str) -> None:
    made = trained(1, name)
    data = made.estimator.estimate()
    assert all(len(cluster) == 1 for cluster in made.clusters)
    for cluster in made.clusters:
        made.optimiser.zero()
        number = cluster[0].stack.number
        batches = {number: Batch({k: v[:24].unflatten(0, (2, 12)) for k, v in data[number].items()}, 12)}
        cluster_loss(cluster, batches, made.config)[0][number].total.sum().backward()
        for other in made.nets:
            touched = [p for p in other.actor_parameters() if p.grad is not None]
            assert bool(touched) == (other is cluster[0] and bool(other.actor_parameters()))


@pytest.mark.parametrize("name", ["zoo/consensus", "zoo/messenger", "zoo/hammer", "zoo/action-graph"])
def test_with_through_gradients_equal_finite_differences(name: str) -> None:
    made = trained(2, name, SMOOTH)
    data = made.estimator.estimate()
    (cluster,) = [c for c in made.clusters if any(n.stack.through for n in c)]
    for p in made.optimiser.parameters:
        p.data = p.data.double()
    sender = next(n for n in cluster if n.stack.through)

    def loss() -> torch.Tensor:
        batches = {}
        for net in cluster:
            n = net.stack.number
            rows = {k: v[:24].unflatten(0, (2, 12)) for k, v in data[n].items()}
            batches[n] = Batch({k: v.double() if v.is_floating_point() else v for k, v in rows.items()}, 12)
        return torch.stack([loss.total.sum() for loss in cluster_loss(cluster, batches, made.config)[0].values()]).sum()

    made.optimiser.zero()
    loss().backward()
    checked = [sender.actor_parameters()[0]]
    reporting = [n for n in cluster if n.message is not None]
    checked += [next(n.message.parameters()) for n in reporting]
    assert len(checked) == 1 + len(reporting)
    for parameter in checked:
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in gradient.abs().topk(3).indices.tolist():
            kept, found = float(flat[i]), []
            for step in (1e-6, -1e-6):
                flat[i] = kept + step
                with torch.no_grad():
                    found.append(float(loss()))
            flat[i] = kept
            assert gradient[i] != 0
            assert (found[0] - found[1]) / 2e-6 == pytest.approx(float(gradient[i]), rel=1e-4, abs=1e-9)


def test_a_sender_through_has_no_policy_loss_of_its_own() -> None:
    made = learner("zoo/consensus")
    sender = made.nets[0]
    assert sender.stack.through and not sender.stack.learns and sender.critic is None


@pytest.mark.parametrize("seed", range(8))
def test_one_shared_team_reward_reaches_every_vertex_of_any_graph(seed: int) -> None:
    made = trained(1, random_network(seed), seeds=(0,))
    team = made.rollout.rewards.mean(dim=3, keepdim=True)
    for buffer in made.rollout.stacks:
        assert torch.equal(made.estimator.reward(buffer.net).expand(-1, -1, -1, 1), team)


def test_individual_rewards_are_weighted_by_paths() -> None:
    spec = (
        Network("tree")
        .vertex("top", action=continuous(2), reward="sum")
        .vertex("low", action=continuous(2), count=2)
        .motors("motor")
        .edge("top", "low")
        .edge("low", "motor")
        .build()
    )
    made = trained(1, spec, LBF, (0,), "individual")
    reward = {b.net.stack.name: made.estimator.reward(b.net) for b in made.rollout.stacks}
    raw = made.rollout.rewards
    assert torch.equal(reward["motor"], raw)
    low = next(x for name, x in reward.items() if name.startswith("low"))
    assert low.shape[-1] == 2 and torch.allclose(low, raw.mean(dim=3, keepdim=True).expand_as(low))
    raw += 1.0  # few are paid in so few steps
    top = made.estimator.reward(next(b.net for b in made.rollout.stacks if b.net.stack.name == "top"))
    assert torch.allclose(top[..., 0], 2 * raw.mean(dim=3))


def test_stacks_of_one_name_keep_their_metrics_apart() -> None:
    made = learner("zoo/leader-follower", SPREAD, (0,))
    found = made.iterate()
    losses = [k for k in found if k.endswith("policy_loss")]
    assert len(losses) == len([n for n in made.nets if n.stack.is_motor]) == 3, losses


def test_environments_never_see_a_nan() -> None:
    """As with ordinary actors: a replica that is no number any more diverges, and takes no other with it."""
    made = learner("zoo/flat", SMOOTH, (0, 1))
    step = made.env.step

    def strict(actions: torch.Tensor) -> Any:
        assert bool(actions.isfinite().all())
        return step(actions)

    made.env.step = strict  # type: ignore[method-assign]
    with torch.no_grad():
        made.nets[0].actor_parameters()[0][-1] = float("nan")
    made.iterate()
    assert [d.seed for d in made.divergences] == [1]
    made.iterate()


# -- intervals -----------------------------------------------------------------------------------------------


def _shape(rows: list[list[float]]) -> torch.Tensor:
    """[T][B] -> [T, 1, B, 1]."""
    return torch.tensor(rows)[:, None, :, None]


def test_intervals_by_hand() -> None:
    """gamma 0.5, lambda 0, period 2. Environment 0 is in step; 1 terminates after step 0, so that it decides at 1."""
    reward = _shape([[1.0, 4.0], [2.0, 8.0], [3.0, 16.0], [5.0, 32.0]])
    values = _shape([[10.0, 10.0], [0.0, 20.0], [40.0, 0.0], [0.0, 60.0], [80.0, 0.0]])
    due = torch.tensor([[True, True], [False, True], [True, False], [False, True], [True, False]])[:, None]
    terminated = torch.tensor([[False, True], [False, False], [False, False], [False, False]])[:, None]
    none = torch.zeros_like(terminated)
    got = intervals(reward, values, torch.zeros_like(reward), due, terminated, none, 0.5, 0.0)
    # Environment 0: 1 + 2/2 + 40/4 - 10, then 3 + 5/2 + 80/4 - 40.
    assert got.advantage[[0, 2], 0, 0, 0].tolist() == [2.0, -14.5]
    # Environment 1: 4 - 10 (nothing after a termination), 8 + 16/2 + 60/4 - 20, then an open interval.
    assert got.advantage[[0, 1], 0, 1, 0].tolist() == [-6.0, 11.0]
    assert got.closed[:, 0, 1].tolist() == [True, True, True, False]
    assert (got.reward[3, 0, 1, 0], got.discount[3, 0, 1]) == (32.0, 0.5)
    # The next rollout closes it: 32 + r/2 with r = 6, then 1/4 of the value 100 of what follows, minus 60.
    carried = (torch.tensor([[False, True]]), got.reward[3], got.discount[3])
    more = intervals(
        _shape([[0.0, 6.0], [0.0, 0.0]]), _shape([[0.0, 60.0], [0.0, 100.0], [0.0, 0.0]]), _shape([[0.0] * 2] * 2),
        torch.tensor([[True, False], [False, True], [True, False]])[:, None],
        torch.zeros(2, 1, 2, dtype=torch.bool), torch.zeros(2, 1, 2, dtype=torch.bool), 0.5, 0.0, carried,
    )  # fmt: skip
    assert more.advantage[0, 0, 1, 0] == 32 + 3 + 25 - 60


def test_a_time_limit_closes_an_interval_early_and_bootstraps() -> None:
    reward, values = _shape([[1.0], [2.0]]), _shape([[10.0], [30.0], [50.0]])
    due = torch.tensor([[True], [True], [True]])[:, None]
    truncated = torch.tensor([[True], [False]])[:, None]
    final = _shape([[8.0], [0.0]])
    got = intervals(reward, values, final, due, torch.zeros_like(truncated), truncated, 0.5, 1.0)
    assert got.advantage[:, 0, 0, 0].tolist() == [1.0 + 4.0 - 10.0, 2.0 + 25.0 - 30.0]


def test_decisions_at_every_step_are_ordinary_advantages() -> None:
    draw = torch.Generator().manual_seed(0)
    reward, final = (torch.randn(20, 2, 3, 2, generator=draw) for _ in range(2))
    values = torch.randn(21, 2, 3, 2, generator=draw)
    ended = torch.rand(20, 2, 3, generator=draw)
    terminated, truncated = ended < 0.1, ended > 0.9
    got = intervals(reward, values, final, torch.ones(21, 2, 3, dtype=torch.bool), terminated, truncated, 0.9, 0.8)
    following = next_values(values[:20], values[20], final, truncated[..., None])
    wanted = gae(reward, values[:20], following, terminated[..., None], truncated[..., None], 0.9, 0.8)
    assert torch.allclose(got.advantage, wanted, atol=1e-6)


def test_open_intervals_are_learned_from_in_the_next_rollout() -> None:
    spec = Network("slow").vertex("boss", action=continuous(2), period=5).motors("motor").edge("boss", "motor").build()
    made = trained(1, spec, LBF, (0, 1), rollout_steps=7)
    assert made.estimator.carried[0]["open"].all()  # decided at step 5, ends at step 10
    kept = {k: v.clone() for k, v in made.estimator.carried[0].items()}
    made.collect()
    data = made.estimator.estimate()[0]
    first = data["features"].view(7, 2, 4, 1, -1)[0]
    assert torch.equal(first, kept["features"])
    assert torch.equal(data["log_p"].view(7, 2, 4, 1)[0], kept["log_p"])
    assert data["weight"].view(7, 2, 4)[0].all()


@pytest.mark.parametrize("name", ["zoo/tag-3ppo-comm", "zoo/bayes-net", "zoo/lead-critic", "zoo/superior-advantage"])
@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_training_continues_to_the_bit(name: str, task: str) -> None:
    one, two = trained(2, name, task), learner(name, task)
    two.load_state_dict(unflatten(*flatten(one.state_dict())))
    for _ in range(2):
        one.iterate()
        two.iterate()
    assert differing(weights(one), weights(two)) == []


def test_sparse_edges_end_at_zero_or_one() -> None:
    made = learner("zoo/bayes-net")
    made.total_frames = 4 * made.frames_per_iteration
    net = made.nets[-1]
    assert torch.equal(net.edge_weights(), torch.full_like(net.edge_weights(), 0.5))
    for _ in range(4):
        made.iterate()
    assert set(net.edge_weights().flatten().tolist()) <= {0.0, 1.0}


def test_advantages_from_superiors_are_means_with_ones_own() -> None:
    made = trained(1, "zoo/lead-critic", normalise_advantage="none", normalise_value=False)
    data = made.estimator.estimate()
    t, r, b = made.shape
    (taught,) = [d["advantage"].view(t, r, b, 3) for n, d in data.items() if "advantage" in d]
    own = {i: made.estimator._stack(x).advantage[..., k] for x in made.rollout.stacks
           for k, i in enumerate(x.net.stack.members)}  # fmt: skip
    for agent, i in enumerate(made.graph.motors):
        parts = [own[i], *(own[j] for j in made.graph.nodes[i].superiors)]
        assert len(parts) == 3
        assert torch.allclose(taught[..., agent], sum(parts) / 3, atol=1e-5)


def test_a_superiors_advantage_as_reward() -> None:
    made = trained(1, "zoo/superior-advantage", normalise_advantage="none", normalise_value=False)
    made.collect()
    director, motors = made.rollout.stacks
    above = made.estimator._stack(director).advantage  # [T, R, B, 1]
    made.estimator.raw = {0: above}
    reward = made.estimator.reward(motors.net)
    assert torch.equal(reward, above.expand_as(reward)) and reward.shape[-1] == 3
    team = made.rollout.rewards.mean(dim=3, keepdim=True)
    assert torch.equal(made.estimator.reward(director.net), team) and not torch.allclose(team, above)
    # By hand: the motors' own advantages are those of ordinary rewards that are the director's advantages.
    value = made.estimator._value(motors.net, motors.valued)
    following = next_values(
        value[:-1], value[-1], made.estimator._final_values(motors), made.rollout.truncated[..., None]
    )
    ended = [x[..., None] for x in (made.rollout.terminated, made.rollout.truncated)]
    expected = gae(above.expand_as(value[:-1]), value[:-1], following, *ended, 0.9, 0.95)
    assert torch.allclose(made.estimator._stack(motors).advantage, expected, atol=1e-6)


def test_a_superiors_advantage_changes_motors_and_nothing_above_at_first() -> None:
    plain, other = trained(1, "zoo/tag-2ppo"), trained(1, "zoo/superior-advantage")
    changed = differing(weights(plain), weights(other))
    assert changed and not any(key.startswith("0.") for key in changed)
