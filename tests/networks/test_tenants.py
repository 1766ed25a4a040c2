"""Other methods at the vertices of a network: the same numbers as alone, decision intervals, resuming, refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LBF, MIXED, SMALL, SMOOTH, SPREAD, WORDS, differing, learner, weights
from whisper import CARD, Whisper

from rlnet_bench import rng, trust
from rlnet_bench.envs.contract import Reset
from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.play import evaluate
from rlnet_bench.methods import find_method
from rlnet_bench.networks.build import Network, continuous
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.learner import NetworkLearner
from rlnet_bench.networks.method import method_from_json, network_method
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.checkpoint import read_checkpoint, write_checkpoint
from rlnet_bench.trust import Untrusted


def alone(name: str, task: str, reward: Any, **settings: Any) -> Any:
    """The method without a network."""
    method = find_method(name)
    wide = {"critic_hidden": [8]} if "critic_hidden" in method.Config.model_fields else {}
    config = method.configure({"num_envs": 4, "hidden": [8], **wide, **SMALL, **settings})
    return method.learner(task_card(task), config, (3, 5), total_frames=100_000, training_reward=reward)


def flat(name: str, **fields: Any) -> NetworkSpec:
    return Network("flat").motors("motor", learner=f"method:{name}", settings=SMALL, hidden=[8], **fields).build()


CELLS = [
    ("iql", SPREAD, True, "team_mean"), ("iql", LBF, False, "individual"), ("vdn", LBF, True, "team_mean"),
    ("qmix", WORDS, True, "individual"), ("isac", SPREAD, True, "individual"), ("isac", MIXED, False, "team_mean"),
    ("masac", LBF, True, "individual"), ("iddpg", SMOOTH, False, "individual"), ("maddpg", MIXED, True, "team_mean"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "task", "share", "reward"), CELLS)
def test_motors_by_a_method_are_the_method_to_the_bit(name: str, task: str, share: bool, reward: Any) -> None:
    """Episodes end, masks change, narrow agents are padded; the weights, and what they play, are the method's."""
    ours = learner(flat(name), task, (3, 5), reward, share_parameters=share)
    theirs = alone(name, task, reward, share_parameters=share)
    for _ in range(3):
        ours.iterate()
    for _ in range(36):
        theirs.iterate()
    assert theirs.updates == 100
    assert differing(weights(ours), weights(theirs)) == []
    for mode in ("deterministic", "sampled"):
        one, two = (
            evaluate(x.policy(), task_card(task), (3, 5), 2, stream=rng.Stream.USER, mode=mode) for x in (ours, theirs)
        )
        assert (one.returns == two.returns).all()


def mixed(period: int = 5, **fields: Any) -> NetworkSpec:
    """A PPO director over a motor that learns by IQL and others that learn by SAC."""
    return (
        Network("mixed", hidden=[8])
        .vertex("director", action=continuous(3), period=period)
        .motors("first", [0], learner="method:iql", settings=SMALL)
        .motors("others", "rest", learner="method:isac", settings={**SMALL, **fields})
        .edge("director", "first")
        .edge("director", "others")
        .build()
    )


@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_different_learners_train_load_and_continue_to_the_bit(task: str, tmp_path: Path) -> None:
    one, two = learner(mixed(), task), learner(mixed(), task)
    before = weights(one)
    for _ in range(3):
        metrics = one.iterate()
    assert {"policy_loss", "first.loss", "others.critic_loss"} <= {k.removeprefix("director.") for k in metrics}
    moved = {k for k, v in weights(one).items() if not torch.equal(v, before[k])}
    assert moved == set(before)
    two.load_state_dict(read_checkpoint(write_checkpoint(tmp_path, one.frames, one.state_dict())))
    for made in (one, two):
        made.iterate()
    assert differing(weights(one), weights(two)) == []
    policy, card = one.policy(), task_card(task)
    loaded = NetworkPolicy.rebuild(policy.spec(), card, (7, 8))
    loaded.load_state_dict(weights(one))
    for mode in ("deterministic", "sampled"):
        a, b = (evaluate(p, card, (0, 1), 2, stream=rng.Stream.USER, mode=mode) for p in (policy, loaded))
        assert (a.returns == b.returns).all()


# -- decision intervals --------------------------------------------------------------------------------------


def test_a_director_learns_from_its_intervals_and_what_it_was_told() -> None:
    """The replay of a slow vertex against a log of what its network did: LBF ends episodes early, the clock others."""
    spec = (
        Network("slow", hidden=[8])
        .vertex("top", action=continuous(2))
        .vertex("director", action={"discrete": 3}, period=3, learner="method:iql", settings={**SMALL, "n_step": 1})
        .motors("motor")
        .edge("top", "director")
        .edge("director", "motor")
        .build()
    )
    made = learner(spec, LBF, (0,), gamma=0.5, num_envs=3, rollout_steps=50)
    (number,) = made.tenants
    tenant, log = made.tenants[number], []
    for _ in range(2):
        made.iterate()
        rollout, buffer = made.rollout, made.rollout.stacks[number]
        for t in range(50):
            log.append((
                buffer.features[t, 0, :, 0].clone(), buffer.due[t, 0].clone(), rollout.rewards[t, 0].mean(dim=-1),
                rollout.terminated[t, 0].clone(), rollout.truncated[t, 0].clone(),
            ))  # fmt: skip
    replay, gamma = tenant.learner.replay, 0.9
    assert replay.period == 3 and replay.position == 100 and bool(torch.stack([x[4] for x in log]).any())
    rows, batch = replay.draw([9], 300, 3)[0, 0], replay.transitions([9], 300, gamma=gamma)[0]
    lengths = set()
    for m, row in enumerate(rows.tolist()):
        slot, env = divmod(row, 3)
        t = replay.first + (slot - replay.first) % replay.capacity
        features, due = log[t][0][env], log[t][1][env]
        assert bool(due) and torch.equal(batch.observation[0, m, 0], features)
        total, d = 0.0, 0
        while True:
            _, _, reward, terminated, truncated = (x[env] for x in log[t + d])
            total += gamma**d * float(reward)
            d += 1
            if terminated or truncated or log[t + d][1][env]:
                break
        lengths.add((d, bool(terminated), bool(truncated)))
        assert float(batch.reward[0, m, 0]) == pytest.approx(total, abs=1e-6)
        assert float(batch.discount[0, m, 0]) == pytest.approx(0.0 if terminated else gamma**d)
        if not terminated and not truncated:
            assert torch.equal(batch.next_observation[0, m, 0], log[t + d][0][env])
        elif truncated:  # the instruction that held then, above what its own episode showed last
            assert not torch.equal(batch.next_observation[0, m, 0], log[t + d][0][env])
    assert (3, False, False) in lengths and len(lengths) > 1


def test_two_methods_draw_apart() -> None:
    spec = (
        Network("two", hidden=[8])
        .motors("one", [0], learner="method:iql")
        .motors("other", "rest", learner="method:iql")
        .build()
    )
    made = learner(spec, LBF, (0,))
    start = weights(made)
    assert not torch.equal(start["0.weight.0"], start["1.weight.0"])
    made.iterate()
    one, other = (t.learner for t in made.tenants.values())
    assert not torch.equal(one.replay.room["action"][:12], other.replay.room["action"][:12])
    assert not torch.equal(one.replay.draw([0], 16, 1), other.replay.draw([0], 16, 1))


def test_a_replica_that_is_no_number_is_frozen_everywhere() -> None:
    made = learner(mixed(), SPREAD)
    made.iterate()
    isac = next(t for t in made.tenants.values() if t.stack.name == "others").learner
    with torch.no_grad():
        isac.critics.parts["0"].mlp.weights[0][-1] = float("nan")
    made.iterate()
    assert [d.seed for d in made.divergences] == [1]
    made.iterate()
    for tenant in made.tenants.values():
        values = [p.reshape(2, -1)[1] for p in tenant.learner.optimiser.parameters]
        assert all(bool((v == 0).all()) for v in values) and bool(tenant.learner.frozen[1])
    assert all(bool(v.isfinite().all()) for v in weights(made).values())


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_a_value_based_director_over_ppo_continues_to_the_bit(memory: str, tmp_path: Path) -> None:
    """Its subordinates value final observations by what it would say then, which it must not remember."""
    spec = (
        Network("bold", hidden=[8])
        .vertex("director", action={"discrete": 4}, learner="method:iql", memory=memory, settings=SMALL, count=2)
        .motors("motor")
        .edge("director", "motor")
        .build()
    )
    one, two = (learner(spec, LBF, rollout_steps=30) for _ in range(2))
    for _ in range(3):
        one.iterate()
    two.load_state_dict(read_checkpoint(write_checkpoint(tmp_path, one.frames, one.state_dict())))
    for made in (one, two):
        made.iterate()
    assert differing(weights(one), weights(two)) == []
    if memory == "gru":
        learner_ = next(iter(one.tenants.values())).learner
        kept = learner_.carried.now["agents"].clone()
        learner_.glance(Reset(torch.ones(8, 2, learner_.card.observation_size), torch.zeros(8, 0), None, None), 7)
        assert torch.equal(learner_.carried.now["agents"], kept) and bool(kept.abs().max() > 0)
    policy, card = one.policy(), task_card(LBF)
    loaded = NetworkPolicy.rebuild(policy.spec(), card, (7, 8))
    loaded.load_state_dict(weights(one))
    a, b = (evaluate(p, card, (0, 1), 2, stream=rng.Stream.USER, mode="sampled") for p in (policy, loaded))
    assert (a.returns == b.returns).all()


# -- methods of one's own ------------------------------------------------------------------------------------

MINE = """from rlnet_bench.learning.config import QConfig
from rlnet_bench.methods import Method, find_method, register


class MineConfig(QConfig):
    pull: float = 0.0


@register("mine", version=4, summary="IQL that is pulled to zero", Config=MineConfig, training="independent")
class Mine(Method):
    @classmethod
    def learner_class(cls):
        class Learner(find_method("iql").learner_class()):
            def loss(self, step):
                return super().loss(step) + self.config.pull * step.chosen.square().mean(dim=(-2, -1))

        return Learner
"""


def test_a_file_may_learn_at_vertices_once_it_is_trusted(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    name = f"{file}:Mine"

    def spec(learner_: str, **settings: Any) -> NetworkSpec:
        return Network("own", hidden=[8]).motors("motor", learner=learner_, settings={**SMALL, **settings}).build()

    with pytest.raises(Untrusted, match="--trust-code"):
        learner(spec(f"method:{name}"), LBF)
    trust.typed(name)
    same, pulled = (learner(spec(f"method:{name}", pull=x), LBF) for x in (0.0, 0.5))
    plain = learner(spec("method:iql"), LBF)
    for made in (same, pulled, plain):
        for _ in range(3):
            made.iterate()
    assert differing(weights(same), weights(plain)) == [] and differing(weights(pulled), weights(plain))
    method: Any = method_from_json(spec(f"method:{name}").to_json())
    config = method.configure({})
    assert method.uses(config) == {"mine.py:Mine": f"4 {hashlib.sha256(MINE.encode()).hexdigest()[:16]}"}
    assert method.training_class(config) == "independent" and method.training == "gradients across agents"


def test_planning_counts_replays_and_warm_ups() -> None:
    method: Any = method_from_json(mixed().to_json())
    card, config = task_card(LBF), method.configure({"num_envs": 8})
    made = learner(mixed(), LBF, num_envs=8, rollout_steps=10)
    rooms = [t.learner.replay.room for t in made.tenants.values()]
    size = sum(x.numel() * x.element_size() for room in rooms for x in room.values())
    assert size <= method.memory_bytes(card, config, 2) <= 1.1 * size
    assert method.warmup_frames(card, config) == max(t.learner.warmup_frames for t in made.tenants.values()) == 48
    assert method.warmup_frames(card, method.configure({"num_envs": 32})) == (5 + 1) * 32
    plain, _ = network_method("zoo/tag-3ppo")
    assert plain.uses(plain.configure({})) == {} and plain.memory_bytes(card, plain.configure({}), 2) == 0


def test_a_shuffled_director_tells_what_another_environments_method_chose() -> None:
    spec = (
        Network("shuffled", hidden=[8])
        .vertex("director", action=continuous(2), period=3, learner="method:isac", settings=SMALL, delivers="shuffled")
        .motors("motor")
        .edge("director", "motor")
        .build()
    )
    made = learner(spec, LBF, (0,))
    tenant, chosen = made.tenants[0], []
    decide = tenant.decide
    tenant.decide = lambda *given: chosen.append(decide(*given)[0]) or (chosen[-1], {})  # type: ignore[func-returns-value]
    made.iterate()
    heard = made.rollout.stacks[1].features[0, 0, :, 0, -2:]
    assert torch.equal(heard, chosen[0][:, 0].roll(1, dims=0))


# -- options and groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iql", "isac", "vdn"])
def test_only_legal_options_are_chosen_and_legality_is_kept(name: str) -> None:
    """The environment refuses others; in training, and by the policy in either mode."""
    spec = (
        Network("masked", hidden=[8])
        .vertex("director", action=continuous(2), period=3)
        .motors("first", [0])
        .motors("second", [1], learner=f"method:{name}")
        .edge("director", "first")
        .edge("director", "second")
        .build()
    )
    env = Whisper(16, masked=True)
    config: Any = method_from_json(spec.to_json()).configure(
        {"num_envs": 8, "rollout_steps": 12, "second.settings": {**SMALL, "learning_starts": 100}}
    )
    made = NetworkLearner(
        env, (0, 1), expand(spec, env.card), config, training_reward="team_mean", total_frames=2_000
    )  # fmt: skip
    for _ in range(4):
        made.iterate()
    (tenant,) = made.tenants.values()
    batch = tenant.learner.replay.transitions([0], 64, gamma=0.9)[0]
    assert batch.mask is not None and batch.next_mask is not None and not bool(batch.mask.all())
    assert bool(batch.mask.gather(-1, batch.action[..., None]).all())
    policy, now = made.policy(), env.reset(env.keys)
    for deterministic in (True, False):
        state = policy.initial_state(16, env.keys)
        for _ in range(9):
            action, state = policy.act(now.observation, state, now.action_mask, None, deterministic)
            now = env.step(action)  # type: ignore[assignment]


def test_a_team_of_one_value_is_a_declaration_or_a_group_of_it() -> None:
    def spec(**fields: Any) -> NetworkSpec:
        return (
            Network("teams", hidden=[8])
            .vertex("manager", count=2, action=continuous(2))
            .motors("motor", learner="method:vdn", **fields)
            .edge("manager", "motor", deal="balanced")
            .build()
        )

    one, apart = learner(spec(), SPREAD), learner(spec(share="group"), SPREAD)
    assert [t.learner.card.num_agents for t in one.tenants.values()] == [3]
    assert sorted(t.learner.card.num_agents for t in apart.tenants.values()) == [1, 2]
    for made in (one, apart):
        assert all(t.learner.replay.room["reward"].shape[-1] == 1 for t in made.tenants.values())
        made.iterate()


# -- learning ------------------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {
    "learning_starts": 480, "gamma": 0.5, "updates_per_iteration": 1, "batch_size": 64, "buffer_size": 4_800,
    "target_tau": 0.05, "n_step": 1,
}  # fmt: skip
IQL: dict[str, Any] = {"learner": "method:iql", "settings": QUICK}
ISAC: dict[str, Any] = {"learner": "method:isac", "settings": QUICK}
TELLING = [
    pytest.param({**IQL, "action": {"discrete": 2}}, {**IQL, "learning_rate": 3e-3}, 20, id="iql over iql",
                 marks=pytest.mark.slow),
    pytest.param({"action": continuous(2)}, {**IQL, "learning_rate": 3e-3}, 20, id="ppo over iql"),
    pytest.param({**ISAC, "action": continuous(2)}, {**IQL, "learning_rate": 3e-3}, 36, id="isac over iql",
                 marks=pytest.mark.slow),
    pytest.param({"action": {"discrete": 2}}, {**ISAC, "learning_rate": 3e-3}, 30, id="ppo over isac",
                 marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("director", "hearer", "iterations"), TELLING)
def test_a_director_learns_to_tell_in_decisions_of_three_steps(director: Any, hearer: Any, iterations: int) -> None:
    """Chance is 0.5; what the hearer does not see, the director must say, and both must learn what it means."""
    spec = (
        Network("whisper", hidden=[16])
        .vertex("director", period=3, **director)
        .motors("teller", [0])
        .motors("hearer", [1], **hearer)
        .edge("director", "hearer")
        .edge("director", "teller", carry="messages")
        .build()
    )
    config: Any = method_from_json(spec.to_json()).configure({"num_envs": 16, "rollout_steps": 30, "gamma": 0.5})
    made = NetworkLearner(
        Whisper(32), (0, 1), expand(spec, CARD), config, training_reward="team_mean", total_frames=iterations * 480
    )
    for _ in range(iterations):
        made.iterate()
    assert made.rollout.rewards.mean(dim=(0, 2, 3)).min() > 0.85
