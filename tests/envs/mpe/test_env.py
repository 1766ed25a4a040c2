"""The rules of the MPE family: time, actions, messages, layout. Beside mpe2: test_mpe_reference.py."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.cards.mpe import ids
from rlnet_bench.envs.contract import Transition
from rlnet_bench.envs.mpe.policies import uniform_actions
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.rng import Stream

SPREAD = "mpe/simple_spread-discrete-v1"
CONTINUOUS = "mpe/simple_spread-continuous-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"


def keys(count: int, seed: int = 0) -> Tensor:
    return rng.env_keys([seed], Stream.USER, count)


def actions_at(task: str, keys: Tensor, step: int) -> Tensor:
    """Random actions that depend on the environment's key and the step only."""
    return uniform_actions(rng.fold(keys, Stream.ACTION, step), task_card(task))


def started(task: str, count: int, **world: Tensor) -> Any:
    """A reset environment with parts of its world replaced."""
    env = make_env(task, count)
    env.reset(keys(count))
    state = env.state_dict()
    env.load_state_dict({**state, "world": {**state["world"], **world}})
    return env


def play(env: Any, task: str, keys: Tensor, steps: int, first: int = 0) -> list[Transition]:
    """Transitions of random play, cloned because an environment may reuse its tensors."""
    found = []
    for step in range(first, first + steps):
        out = env.step(actions_at(task, keys, step))
        found.append(Transition(*(x.clone() if isinstance(x, Tensor) else x for x in out)))
    return found


def assert_same(a: Any, b: Any) -> None:
    for name, x, y in zip(a._fields, a, b):
        assert (x is None) == (y is None)
        assert x is None or torch.equal(x, y), name


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_episodes_last_25_steps_and_are_only_ever_truncated(task: str) -> None:
    env = make_env(task, 3)
    env.reset(keys(3))
    for step, out in enumerate(play(env, task, keys(3), 80), start=1):
        assert out.truncated.tolist() == [step % 25 == 0] * 3
        assert not out.terminated.any() and not out.agent_terminated.any()
        assert (out.success >= 0).all() and (out.success <= 1).all()
        if step % 25:
            assert torch.equal(out.observation, out.final_observation)
        else:
            assert not torch.equal(out.observation, out.final_observation)
    play(env, task, keys(3), 19, first=80)
    out = env.step(actions_at(task, keys(3), 99))
    assert out.truncated.all()
    assert torch.equal(env.current().observation, out.observation), "the next episode has begun"
    assert torch.equal(env.current().state, out.state)


def test_the_first_step_changes_velocity_and_not_position() -> None:
    env = make_env(SPREAD, 1)
    before = env.reset(keys(1)).observation
    after = env.step(torch.tensor([[1, 2, 4]])).observation
    assert torch.equal(before[..., 2:4], after[..., 2:4])
    # The contact tail reaches everywhere but is far below float32 here.
    assert after[0, :, :2].tolist() == [[-0.5, 0.0], [0.5, 0.0], [0.0, 0.5]]
    again = env.step(torch.zeros(1, 3, dtype=torch.int64)).observation
    moved = again[0, :, 2:4] - after[0, :, 2:4]
    assert torch.allclose(moved, torch.tensor([[-0.05, 0.0], [0.05, 0.0], [0.0, 0.05]]), atol=1e-6)
    assert torch.allclose(again[0, :, :2], 0.75 * after[0, :, :2])


@pytest.mark.parametrize("task", ids())
def test_an_action_first_changes_the_next_reward(task: str) -> None:
    """So the last action of an episode cannot change its return."""
    one, two = make_env(task, 64), make_env(task, 64)
    one.reset(keys(64))
    two.reset(keys(64))
    play(one, task, keys(64), 23)
    play(two, task, keys(64), 23)
    usual, other = actions_at(task, keys(64), 23), actions_at(task, keys(64), 99)
    assert torch.equal(one.step(usual).reward, two.step(other).reward)
    late = [env.step(actions_at(task, keys(64), 24)) for env in (one, two)]
    assert not torch.equal(late[0].reward, late[1].reward), "action 24 must show in reward 25"
    for env in (one, two):
        env.reset(keys(64))
        play(env, task, keys(64), 24)
    last = [env.step(a) for env, a in ((one, usual), (two, other))]
    assert torch.equal(last[0].reward, last[1].reward)
    assert not torch.equal(last[0].final_observation, last[1].final_observation)
    assert torch.equal(last[0].observation, last[1].observation), "resets do not depend on what was played"


# -- actions ---------------------------------------------------------------------------------------


def test_coincident_agents_stay_finite() -> None:
    """The documented deviation: mpe2 divides by zero here and stays NaN."""
    assert any("coincident" in d for d in task_card(SPREAD).deviations)
    same = torch.full((3, 2, 4), 0.25, dtype=torch.float64)
    env = started(SPREAD, 4, position=same)
    idle = torch.zeros(4, 3, dtype=torch.int64)
    for _ in range(24):
        out = env.step(idle)
        assert torch.isfinite(out.observation).all() and torch.isfinite(out.reward).all()
    assert (out.observation[..., :2] == 0).all(), "no force between agents on one point"
    env = started(SPREAD, 4, position=same)
    env.step(torch.tensor([[1, 2, 0]] * 4))
    for _ in range(20):
        out = env.step(idle)
    assert torch.isfinite(out.observation).all()
    assert (out.observation[..., :2].abs().sum(dim=(1, 2)) > 0).all(), "apart, they push again"


@pytest.mark.parametrize("task", [t for t in ids() if "discrete" in t])
@pytest.mark.parametrize("illegal", [-1, -7, 50, 51, 1_000_003])
def test_discrete_actions_out_of_range_do_nothing(task: str, illegal: int) -> None:
    one, two = make_env(task, 8), make_env(task, 8)
    one.reset(keys(8))
    two.reset(keys(8))
    n = one.card.num_agents
    for _ in range(3):
        out = one.step(torch.full((8, n), illegal))
        # Doing nothing is action 0 for a body; only a word out of range says nothing at all.
        idle = two.step(torch.zeros(8, n, dtype=torch.int64))
        words = 3 if "speaker" in task else 10 if "reference" in task else 0
        assert not out.observation[:, -1, out.observation.shape[-1] - words :].any()
        bodies = slice(0, out.observation.shape[-1] - words)
        assert torch.equal(out.observation[..., bodies], idle.observation[..., bodies])
        assert torch.equal(out.reward, idle.reward)


@pytest.mark.parametrize("task", [t for t in ids() if "continuous" in t])
def test_continuous_actions_are_clipped(task: str) -> None:
    one, two = make_env(task, 8), make_env(task, 8)
    one.reset(keys(8))
    two.reset(keys(8))
    for step in range(10):
        wild = actions_at(task, keys(8), step) * 6 - 3
        assert_same(one.step(wild), two.step(wild.clamp(0.0, 1.0)))


def test_continuous_actions_push_by_the_difference() -> None:
    env = make_env(CONTINUOUS, 1)
    env.reset(keys(1))
    rows = [[0.9, 0.25, 0.75, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0]]
    out = env.step(torch.tensor([rows]))
    assert out.observation[0, :, :2].tolist() == [[0.25, 0.0], [-0.5, 0.25], [0.0, 0.0]]


def test_the_speaker_never_moves() -> None:
    env = started(SPEAKER, 16)
    before = env.state_dict()["world"]["position"][0]
    play(env, SPEAKER, keys(16), 24)
    assert torch.equal(before, env.state_dict()["world"]["position"][0])


# -- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [t for t in ids() if "spread" not in t])
def test_a_message_is_seen_one_step_after_the_reset_and_gone_with_the_episode(task: str) -> None:
    env = make_env(task, 32)
    start = env.reset(keys(32))
    speaker = "speaker" in task
    words = slice(8, 11) if speaker else slice(11, 21)
    assert not start.observation[..., words].any()
    for step in range(1, 26):
        action = actions_at(task, keys(32), step)
        out = env.step(action)
        if "continuous" in task:
            said = action[:, :1, :3] if speaker else action[..., 5:]
        else:
            word = action[:, :1] if speaker else action // 5
            said = torch.nn.functional.one_hot(word, 3 if speaker else 10).float()
        # A listener hears the speaker (agent 0); in reference each hears the other.
        heard = out.final_observation[:, 1:, words] if speaker else out.final_observation.flip(1)[..., words]
        assert torch.equal(heard, said)
    assert not out.observation[..., words].any(), "the next episode starts in silence"


def test_the_goal_is_seen_by_the_one_who_must_say_it() -> None:
    env = started(SPEAKER, 3, goal=torch.tensor([[0, 1, 2]]))
    colours = env.current().observation[:, 0, :3]
    assert torch.allclose(colours, 0.5 * torch.eye(3) + 0.15) and not env.current().observation[:, 0, 3:].any()
    env = started(REFERENCE, 3, goal=torch.tensor([[0, 1, 2], [2, 2, 0]]))
    colours = env.current().observation[..., 8:11]
    assert torch.equal(colours[:, 0], 0.5 * torch.eye(3) + 0.25)
    assert colours[:, 1].argmax(dim=-1).tolist() == [2, 2, 0]


# -- layout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_state_is_the_unpadded_observations_in_order(task: str) -> None:
    env = make_env(task, 4)
    env.reset(keys(4))
    out = play(env, task, keys(4), 3)[-1]
    sizes = env.card.observation_sizes
    expected = torch.cat([out.observation[:, i, :size] for i, size in enumerate(sizes)], dim=1)
    assert torch.equal(out.state, expected) and out.state.shape == (4, env.card.state_size)
    for i, size in enumerate(sizes):
        assert not out.observation[:, i, size:].any()
