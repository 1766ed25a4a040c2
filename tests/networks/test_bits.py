"""Instructions in bits: shades of them while they are trained, 0 or 1 when evaluated, as in `zoo/hammer`."""

from __future__ import annotations

import pytest
import torch
from tiny import LBF, MIXED, SMOOTH, SPREAD, differing, learner, trained, weights
from toys import Cue, won

from rlnet_bench import rng
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.ppo import Batch
from rlnet_bench.networks.build import Network, bits, load_network, nominal_card
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.learner import NetworkLearner
from rlnet_bench.networks.losses import cluster_loss
from rlnet_bench.networks.method import NetworkConfig
from rlnet_bench.networks.modules import BLUR
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.step import network_noise
from rlnet_bench.runs.checkpoint import flatten, unflatten

LINEAR = (
    Network("linear", hidden=[])
    .vertex("encoder", action=bits(3, per_subordinate=True), gradient="through")
    .motors("motor")
    .edge("encoder", "motor")
    .build()
)


def test_the_language() -> None:
    assert NetworkSpec.from_yaml(LINEAR.to_yaml()) == LINEAR
    assert "action: {bits: 3, per_subordinate: true}" in LINEAR.to_yaml()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("action: {bits: 2}", "vertex 'a': bits learn from the losses of those who read them; expected `gradient: "
         "through`, found 'stop'"),
        ("action: {bits: 0}, gradient: through", "`action`: expected a number of bits from 1 to 65536, found "),
        ("action: {bits: 1.5}, gradient: through", "expected a number of bits"),
        ("action: {bit: 2}, gradient: through", "expected `none`, `relay`, `graph`, {continuous: d}, {discrete"),
        ("action: {bits: 2}, gradient: through, learner: noise", "needs a vertex that learns by ppo, found"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences_with_their_line(field: str, words: str) -> None:
    text = f"name: x\nvertices:\n  a: {{{field}}}\n  m: {{per_agent: true}}\nedges:\n  - a -> m\n"
    with pytest.raises(BadInput, match="<text>:3: ") as error:
        NetworkSpec.from_yaml(text)
    assert words in str(error.value)


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_bits_and_hops_are_counted(agents: int) -> None:
    graph = expand(load_network("zoo/hammer"), nominal_card(agents, observation=8))
    assert (graph.bits_up, graph.bits_down, graph.hops) == (agents * 8 * 32, agents * 4, 2)
    assert graph.execution_class == "C"
    shared = expand(
        Network("one").vertex("a", action=bits(4), gradient="through").motors().edge("a", "motor").build(),
        nominal_card(agents),
    )
    assert shared.bits_down == agents * 4  # one word for all is still sent to each


def test_a_step_by_hand() -> None:
    """Evaluated: bits are the signs of a linear map, and a motor's option a linear map of what it sees and is told."""
    policy = learner(LINEAR, seeds=(5,), hidden=(), critic_hidden=()).policy()
    encoder, motors = (n.state_dict() for n in policy.nets)
    for tensor in policy.state_dict().values():
        tensor.copy_(torch.linspace(-1, 1, tensor.numel()).view(tensor.shape))
    seen = torch.randn(4, 3, 18, generator=torch.Generator().manual_seed(1))
    told = (seen.flatten(1) @ encoder["weight.0"][0] + encoder["bias.0"][0] > 0).float().view(4, 3, 3)
    assert 0 < told.mean() < 1
    logits = torch.einsum("bki,kio->bko", torch.cat((seen, told), dim=-1), motors["weight.0"]) + motors["bias.0"][:, 0]
    state = policy.initial_state(4)
    assert torch.equal(policy.act(seen, state)[0], logits.argmax(dim=-1))
    sampled, _ = policy.act(seen, state, deterministic=False)  # actions are drawn, bits are as they are
    draws = network_noise(policy.wiring, state.keys, state.step[None], 1, evaluates=True)[0]
    assert draws.own == {} and draws.env is not None
    assert torch.equal(sampled, policy.nets[1].sample_env(logits[None], draws.env)[0])


@pytest.mark.parametrize("task", [SPREAD, SMOOTH])
def test_training_tells_shades(task: str) -> None:
    """What motors heard is sigmoid(m + 2 e), with e drawn by the counter of (replica, environment, step, vertex)."""
    made = learner("zoo/hammer", task)
    made.collect()
    sender, motors = made.rollout.stacks
    t, r, b, k = motors.features[:-1].shape[:4]
    heard = motors.features[:-1, ..., -4:]
    keys = made.action_keys.view(r, b)
    steps = torch.arange(t)[:, None, None]
    drawn = rng.fold(rng.fold(keys, steps), torch.tensor(made.env.card.num_agents))[..., None]
    noise = rng.normal(rng.fold(drawn, (1 << 16) + torch.arange(4 * k))).view(t, r, b, k, 4)
    assert torch.equal(sender.noise.view(noise.shape), noise)
    meant = sender.own.view(noise.shape)
    assert torch.equal(heard, torch.sigmoid(meant + BLUR * noise))
    assert 0.6 < float((meant + BLUR * noise).std()) / BLUR < 1.6
    alone = learner("zoo/hammer", task, seeds=(1,))
    alone.collect()
    assert torch.equal(alone.rollout.stacks[0].noise[:, 0], sender.noise[:, 1])
    policy = made.policy()  # as it is evaluated
    now = made.now
    heard = policy.executor.begin(now.observation, now.state, {}, policy.executor.draws(made.action_keys, steps[0])[0])
    policy.executor.finish(heard)
    s = policy.nets[0].stack
    told = heard.bus[..., s.start : s.start + k * 4]
    assert set(told.unique().tolist()) == {0.0, 1.0}


def test_what_is_computed_again_is_what_was_told_and_gradients_reach_the_encoder() -> None:
    made = learner("zoo/hammer")
    made.collect()
    data = made.estimate()
    (cluster,) = [c for c in made.clusters if any(n.stack.through for n in c)]
    sender, motors = cluster
    batches = {n: Batch({k: v[:8].unflatten(0, (2, 4)) for k, v in rows.items()}, 4) for n, rows in data.items()}
    rows = batches[sender.stack.number]
    again = sender.instruction(sender.outputs(rows["features"])[1], rows["noise"]).flatten(-2)
    features = batches[motors.stack.number]["features"]
    assert torch.allclose(motors.reads.renew(features, [again]), features, atol=1e-6)
    losses, _ = cluster_loss(cluster, batches, made.config)
    losses[motors.stack.number].policy.sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in sender.actor_parameters())


@pytest.mark.parametrize("task", [SPREAD, MIXED, LBF])
def test_training_continues_to_the_bit_and_a_replica_is_independent(task: str) -> None:
    one, other = trained(2, "zoo/hammer", task), learner("zoo/hammer", task)
    other.load_state_dict(unflatten(*flatten(one.state_dict())))
    for made in (one, other):
        made.iterate()
    assert differing(weights(one), weights(other)) == []
    alone = trained(1, "zoo/hammer", task, (1,))
    beside = trained(1, "zoo/hammer", task, (0, 1))
    for name, tensor in weights(alone).items():
        both = weights(beside)[name]
        assert torch.allclose(tensor, both[len(both) // 2 :], atol=1e-5), name


@pytest.mark.slow
def test_it_learns_what_can_only_be_told() -> None:
    def after(network: str) -> float:
        env = Cue(64)
        graph = expand(load_network(network), env.card)
        config = NetworkConfig(num_envs=64, rollout_steps=8, learning_rate=5e-3, epochs=4, minibatches=2, hidden=(32,))
        made = NetworkLearner(env, (3,), graph, config, training_reward="team_mean", total_frames=120 * 512)
        for _ in range(120):
            made.iterate()
        return won(made.policy())

    assert after("zoo/hammer") > 0.9
    assert after("zoo/flat") < 0.4
