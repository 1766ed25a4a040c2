"""MPE resets, batch invariance and saved states. Its rules are tested in test_mpe.py."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.cards.mpe import ids
from rlnet_bench.envs.contract import Transition
from rlnet_bench.envs.mpe.policies import uniform_actions
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.rng import Stream

LEAST_P = 1e-4
SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"


def keys(count: int, seed: int = 0) -> Tensor:
    return rng.env_keys([seed], Stream.USER, count)


def actions_at(task: str, keys: Tensor, step: int) -> Tensor:
    """Random actions that depend on the environment's key and the step only."""
    return uniform_actions(rng.fold(keys, Stream.ACTION, step), task_card(task))


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


# -- resets ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> dict[str, list[dict[str, Tensor]]]:
    """Worlds of 20,000 environments at the start of episodes 0 and 1."""
    found = {}
    for task in (SPREAD, SPEAKER, REFERENCE):
        env = make_env(task, 20_000)
        env.reset(keys(20_000, seed=5))
        first = env.state_dict()["world"]
        idle = torch.zeros(20_000, env.card.num_agents, dtype=torch.int64)
        for _ in range(env.card.horizon):
            env.step(idle)
        found[task] = [first, env.state_dict()["world"]]
    return found


@pytest.mark.parametrize("task", [SPREAD, SPEAKER, REFERENCE])
def test_positions_are_uniform_and_independent(worlds: Any, task: str) -> None:
    coordinates = [w[k].flatten(0, 1) for w in worlds[task] for k in ("position", "landmark")]
    x = torch.cat(coordinates).numpy()  # [episodes * entities * 2, B]
    assert x.min() >= -1.0 and x.max() < 1.0
    for row in x:
        assert stats.kstest(row, "uniform", args=(-1, 2)).pvalue > LEAST_P
    # Between entities, axes and episodes, and between neighbouring environments.
    b = x.shape[1]
    correlation = np.corrcoef(np.concatenate((x[:, :-1], x[:, 1:])))
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 5 / np.sqrt(b)
    assert len(np.unique(x)) == x.size, "two entities share a coordinate"


@pytest.mark.parametrize("task", [SPREAD, SPEAKER, REFERENCE])
def test_everything_else_starts_at_rest(worlds: Any, task: str) -> None:
    for world in worlds[task]:
        assert not world["velocity"].any() and not world["message"].any()


@pytest.mark.parametrize(("task", "count"), [(SPEAKER, 1), (REFERENCE, 2)])
def test_goals_are_uniform_and_independent(worlds: Any, task: str, count: int) -> None:
    first, second = (w["goal"].numpy() for w in worlds[task])
    assert first.shape == (count, 20_000)
    for goal in (*first, *second):
        assert stats.chisquare(np.bincount(goal, minlength=3)).pvalue > LEAST_P
    pairs = [(first[0], second[0]), (first[0][:-1], first[0][1:]), (first[0], first[-1][::-1])]
    if count == 2:
        pairs += [(first[0], first[1]), (first[1], second[0]), (first[0], second[1])]
    for one, two in pairs:
        table = np.histogram2d(one, two, bins=3)[0]
        assert stats.chi2_contingency(table).pvalue > LEAST_P
    side = worlds[task][0]["landmark"][0, 0].numpy() > 0
    assert stats.chi2_contingency(np.histogram2d(first[0], side, bins=(3, 2))[0]).pvalue > LEAST_P


def test_reset_repeats_and_starts_over() -> None:
    env = make_env(REFERENCE, 5)
    first = env.reset(keys(5))
    again = play(env, REFERENCE, keys(5), 30)
    assert_same(first, env.reset(keys(5)))
    for a, b in zip(again, play(env, REFERENCE, keys(5), 30)):
        assert_same(a, b)
    assert not torch.equal(first.state, env.reset(keys(5, seed=1)).state)


# -- batch invariance ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_an_environment_is_the_same_to_the_bit_in_every_batch(task: str) -> None:
    """Float32 outputs and the float64 world, 60 steps over two episode ends, alone and among 4,096."""
    all_keys = keys(4096)
    parts = [slice(0, 1), slice(2047, 2048), slice(4095, 4096), slice(3, 10), slice(100, 228)]
    whole, alone = make_env(task, 4096), [make_env(task, p.stop - p.start) for p in parts]
    whole.reset(all_keys)
    for env, part in zip(alone, parts):
        env.reset(all_keys[part])
    if "spread" in task:  # half of them huddled, so that contacts matter in the small batches too
        crowd(whole, 0.25, slice(None))
        for env, part in zip(alone, parts):
            crowd(env, 0.25, part)
    for step in range(60):
        actions = actions_at(task, all_keys, step)
        out = whole.step(actions)
        for env, part in zip(alone, parts):
            mine = env.step(actions[part])
            assert_same(mine, Transition(*(x[part] if isinstance(x, Tensor) else x for x in out)))
    world = whole.state_dict()["world"]
    for env, part in zip(alone, parts):
        for name, value in env.state_dict()["world"].items():
            assert torch.equal(value, world[name][..., part]), name


def crowd(env: Any, scale: float, part: slice) -> None:
    """Shrink the positions of every second environment (by its index in the whole batch)."""
    state = env.state_dict()
    position = state["world"]["position"]
    odd = (torch.arange(4096)[part] % 2).bool()
    state["world"]["position"] = torch.where(odd, position * scale, position)
    env.load_state_dict(state)


# -- state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_state_dict_continues_to_the_bit(task: str, tmp_path: Any) -> None:
    env = make_env(task, 6)
    env.reset(keys(6))
    play(env, task, keys(6), 37)
    torch.save(env.state_dict(), tmp_path / "state.pt")
    held = env.state_dict()
    seen = env.current()
    expected = play(env, task, keys(6), 40, first=37)
    for state in (held, torch.load(tmp_path / "state.pt", weights_only=True)):
        other = make_env(task, 6)
        other.load_state_dict(state)
        assert_same(other.current(), seen)
        for a, b in zip(expected, play(other, task, keys(6), 40, first=37)):
            assert_same(a, b)


def test_stepping_before_reset_is_an_error_with_a_remedy() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        make_env(SPREAD, 2).step(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        make_env(SPREAD, 2).reset(keys(3))
