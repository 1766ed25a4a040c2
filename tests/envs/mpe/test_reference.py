"""The MPE family against mpe2 1.1.1, stepped side by side from the same float64 states.

Bit-equal: every float32 observation, every reward rounded to float32, flags, the success metric. The
float64 positions behind them agree to 1e-12 at the end of an episode and are almost always bit-equal; they
cannot always be, because numpy's and torch's ``exp`` and ``log1p`` differ in the last bit now and then.
"""

import os
from collections import defaultdict
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards.mpe import ids
from rlnet_bench.envs.registry import make_env, task_card

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
pytest.importorskip("mpe2", reason="mpe2 is not installed")
from mpe2 import simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3

MODULES = {
    "simple_spread": simple_spread_v3,
    "simple_speaker_listener": simple_speaker_listener_v4,
    "simple_reference": simple_reference_v3,
}
Arrays = dict[str, np.ndarray]
HORIZON = 25
TASKS = [*ids(), "mpe/simple_spread-n5-discrete-v1", "mpe/simple_spread-n5-continuous-v1"]


def reference(card: TaskCard) -> Any:
    arguments = {k: v for k, v in card.constructor.items() if k != "scenario"}
    module = MODULES[card.constructor["scenario"]]
    return module.parallel_env(**arguments, continuous_actions=card.action_kind == "continuous")


def huddle(world: Any, generator: np.random.Generator) -> None:
    """Move all agents to within or just beyond touching distance of the first one, in motion."""
    for agent in world.agents[1:]:
        angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(0.02, 0.35)
        offset = distance * np.array([np.cos(angle), np.sin(angle)])
        agent.state.p_pos = world.agents[0].state.p_pos + offset
    for agent in world.agents:
        agent.state.p_vel = generator.uniform(-1, 1, 2)


def copy_of(world: Any) -> Arrays:
    """The state of an mpe2 world in the layout of ours, without the batch axis."""
    agents, landmarks = world.agents, world.landmarks
    goals = [landmarks.index(a.goal_b) for a in agents if getattr(a, "_goal_b", None) is not None]
    size = 0 if not goals else world.dim_c
    return {
        "position": np.stack([a.state.p_pos for a in agents]),
        "velocity": np.stack([a.state.p_vel for a in agents]),
        "landmark": np.stack([k.state.p_pos for k in landmarks]),
        "goal": np.array(goals, dtype=np.int64),
        "message": np.stack([a.state.c[:size] for a in agents]).astype(np.float32),
    }


def random_actions(card: TaskCard, episodes: int, generator: np.random.Generator) -> np.ndarray:
    """[E, HORIZON, N] int64 or [E, HORIZON, N, A] float32."""
    shape = (episodes, HORIZON, card.num_agents)
    if card.action_kind == "discrete":
        return generator.integers(np.array(card.action_sizes), size=shape)
    actions = generator.random((*shape, card.action_size), dtype=np.float32)
    actions[generator.random(actions.shape) < 0.1] = 1.0  # the bounds themselves
    return actions


def play_reference(card: TaskCard, actions: np.ndarray) -> tuple[Arrays, Arrays]:
    """(initial states, all that mpe2 said): batch-last as ours, and [E, ...] or [E, HORIZON (+ 1), ...]."""
    env, generator = reference(card), np.random.default_rng(7)
    base, width, discrete = env.unwrapped, card.observation_size, card.action_kind == "discrete"
    starts: list[Arrays] = []
    told: dict[str, list[Any]] = defaultdict(list)
    for episode in range(len(actions)):
        env.reset(seed=episode)
        if card.constructor["scenario"] == "simple_spread" and episode % 2:
            huddle(base.world, generator)
        starts.append(copy_of(base.world))
        first = [base.observe(name) for name in card.agents]
        observations, states = [pad(first, width)], [base.state()]
        rewards, truncations = [], []
        for step in range(HORIZON):
            chosen = {
                name: int(actions[episode, step, i])
                if discrete
                else actions[episode, step, i, : card.action_sizes[i]].copy()
                for i, name in enumerate(card.agents)
            }
            seen, reward, terminated, truncated, _ = env.step(chosen)
            assert not any(terminated.values())
            observations.append(pad([seen[name] for name in card.agents], width))
            states.append(base.state())
            rewards.append([reward[name] for name in card.agents])
            truncations.append(all(truncated.values()))
        assert env.agents == []
        told["observation"].append(observations)
        told["state"].append(states)
        told["reward"].append(rewards)
        told["truncated"].append(truncations)
        told["success"].append(success_of(card, base))
        told["end"].append(copy_of(base.world)["position"])
    return stack(starts), {k: np.array(v) for k, v in told.items()}


def pad(observations: list[np.ndarray], width: int) -> np.ndarray:
    assert all(o.dtype == np.float32 for o in observations)
    return np.stack([np.pad(o, (0, width - len(o))) for o in observations])


def stack(states: list[Arrays]) -> Arrays:
    return {k: np.stack([s[k] for s in states], axis=-1) for k in states[0]}


def success_of(card: TaskCard, base: Any) -> float:
    world = base.world
    if card.constructor["scenario"] == "simple_spread":
        return base.scenario.benchmark_data(world.agents[0], world)[3] / card.num_agents
    pairs = [(a.goal_a, a.goal_b) for a in world.agents if getattr(a, "_goal_b", None) is not None]
    reached = [np.linalg.norm(who.state.p_pos - where.state.p_pos) < 0.1 for who, where in pairs]
    return float(np.mean(reached))


def start_from(card: TaskCard, world: Arrays) -> Any:
    """Our environment with the episodes of an mpe2 run as its batch."""
    batch = world["position"].shape[-1]
    env = make_env(card, batch)
    env.reset(torch.arange(batch))
    state = env.state_dict()
    for key, value in world.items():
        assert state["world"][key].shape == value.shape, key
        assert state["world"][key].dtype == torch.from_numpy(value).dtype, key
    env.load_state_dict({**state, "world": {k: torch.from_numpy(v) for k, v in world.items()}})
    return env


def test_the_reference_is_the_version_on_the_cards() -> None:
    assert all(task_card(t).faithful_to == f"mpe2 {version('mpe2')}" for t in TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_two_thousand_steps_beside_mpe2(task: str) -> None:
    beside_mpe2(task, episodes=80)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_twenty_thousand_steps_beside_mpe2(task: str) -> None:
    beside_mpe2(task, episodes=800)


def beside_mpe2(task: str, episodes: int) -> None:
    card = task_card(task)
    actions = random_actions(card, episodes, np.random.default_rng(episodes))
    world, told = play_reference(card, actions)
    env = start_from(card, world)
    if card.constructor["scenario"] == "simple_spread":
        touching = closest(world["position"]) < 0.3
        assert touching.mean() > 0.3, "too few episodes start in contact"
    seen = env.current()
    assert_bits(seen.observation, told["observation"][:, 0])
    assert_bits(seen.state, told["state"][:, 0])
    for step in range(HORIZON):
        before = {k: v.clone() for k, v in env.state_dict()["world"].items()}
        out = env.step(torch.from_numpy(actions[:, step]))
        assert_bits(out.final_observation, told["observation"][:, step + 1])
        assert_bits(out.final_state, told["state"][:, step + 1])
        assert_bits(out.reward, told["reward"][:, step].astype(np.float32))
        assert np.array_equal(out.truncated.numpy(), told["truncated"][:, step])
        assert not out.terminated.any() and not out.agent_terminated.any()
        if step < HORIZON - 1:
            assert_bits(out.observation, told["observation"][:, step + 1])
    assert np.array_equal(out.success.numpy(), told["success"].astype(np.float32))
    position = (before["position"] + before["velocity"] * 0.1).permute(2, 0, 1).numpy()
    assert np.abs(position - told["end"]).max() < 1e-12


def closest(position: np.ndarray) -> np.ndarray:
    """Least distance between two agents [B], from [N, 2, B]."""
    n = len(position)
    pairs = [np.linalg.norm(position[i] - position[j], axis=0) for i in range(n) for j in range(i)]
    return np.min(pairs, axis=0)


def assert_bits(ours: torch.Tensor, theirs: np.ndarray) -> None:
    """Equal to the bit, shape and dtype included."""
    assert ours.dtype == torch.float32 and theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    different = ours.numpy() != theirs
    assert not different.any(), (
        f"{different.sum()} of {different.size} differ, most by {np.abs(ours.numpy() - theirs).max()}"
    )


def test_mpe2_never_recovers_from_coincident_agents() -> None:
    """What our one deviation is for; ours stays finite (tests/envs/test_mpe.py)."""
    env = reference(task_card("mpe/simple_spread-discrete-v1"))
    env.reset(seed=0)
    agents = env.unwrapped.world.agents
    agents[1].state.p_pos = agents[0].state.p_pos.copy()
    with np.errstate(invalid="ignore"):
        for _ in range(3):
            seen, *_ = env.step(dict.fromkeys(env.agents, 0))
    assert np.isnan(seen["agent_0"]).any()


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_mpe2_out_of_range_actions(kind: str) -> None:
    """Continuous actions are clipped on both sides; discrete ones mpe2 refuses, where ours does nothing."""
    card = task_card(f"mpe/simple_spread-{kind}-v1")
    env = reference(card)
    env.reset(seed=0)
    base = env.unwrapped
    ours = start_from(card, stack([copy_of(base.world)]))
    if kind == "discrete":
        with pytest.raises(AssertionError):
            env.step(dict.fromkeys(card.agents, 5))
        return
    actions = np.array([[0.0, -3.0, 7.0, 0.2, 0.1]] * 3, dtype=np.float32)
    for _ in range(3):
        seen, *_ = env.step(dict(zip(card.agents, actions)))
        out = ours.step(torch.from_numpy(actions)[None])
        assert_bits(out.observation[0], np.stack([seen[name] for name in card.agents]))
