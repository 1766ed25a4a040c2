"""Our tasks as ParallelEnvs: pettingzoo's own tests, and the numbers of the batch of one behind them."""

import doctest
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env, task_card, task_ids
from rlnet_bench.errors import BadInput, UnknownName

pytest.importorskip("pettingzoo")

from pettingzoo.test import parallel_api_test, parallel_seed_test

from rlnet_bench.envs.pettingzoo import export as pettingzoo_export
from rlnet_bench.envs.pettingzoo.export import parallel_env

torch.set_num_threads(1)

SPREAD, LISTENER = "mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1"
LBF, MASKED = "lbf/8x8-2p-2f-coop-v1", "lbf/8x8-2p-2f-coop-masked-v1"
FAST = {SPREAD, LISTENER, LBF}
SWEEP = [
    pytest.param(t, marks=() if t in FAST else pytest.mark.slow) for t in task_ids() if t.startswith(("mpe/", "lbf/"))
]


@pytest.mark.parametrize("task", SWEEP)
def test_pettingzoo_accepts_our_tasks(task):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(parallel_env(task), num_cycles=60)
        parallel_seed_test(lambda: parallel_env(task), num_cycles=30)


@pytest.mark.parametrize("task", sorted(FAST))
def test_numbers_are_those_of_the_batch_of_one(task):
    env, card = parallel_env(task), task_card(task)
    seen, infos = env.reset(seed=4)
    batch = make_env(task, 1)
    start = batch.reset(torch.tensor([rng.fold_int(4, int(rng.Stream.USER), 0)]))
    for i, (agent, size) in enumerate(zip(card.agents, card.observation_sizes)):
        assert np.array_equal(seen[agent], start.observation[0, i, :size].numpy())
    generator = np.random.default_rng(0)
    while env.agents:
        row = torch.zeros(1, card.num_agents, card.action_size)
        for i, size in enumerate(card.action_sizes):
            row[0, i, :size] = torch.from_numpy(generator.random(size, np.float32))
        if card.action_kind == "discrete":
            row = row.argmax(-1)
        given = {a: row[0, i].numpy() for i, a in enumerate(card.agents)}
        if card.action_kind == "continuous":
            given = {a: v[:size] for (a, v), size in zip(given.items(), card.action_sizes)}
        seen, rewards, died, cut, infos = env.step(given)
        out = batch.step(row)
        ended = bool(out.terminated | out.truncated)
        observation, state = (out.final_observation, out.final_state) if ended else out[:2]
        for i, (agent, size) in enumerate(zip(card.agents, card.observation_sizes)):
            assert np.array_equal(seen[agent], observation[0, i, :size].numpy())
            assert rewards[agent] == float(out.reward[0, i])
            assert (died[agent], cut[agent]) == (bool(out.terminated), bool(out.truncated))
        assert np.array_equal(env.state(), state[0].numpy())
        assert ended == (not env.agents)
    assert all(info["success"] == float(out.success) for info in infos.values())
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_spaces_are_the_agents_own():
    env = parallel_env(LISTENER)
    assert env.possible_agents == ["speaker_0", "listener_0"] and env.agents == []
    assert env.observation_space("speaker_0").shape == (3,) and env.observation_space("listener_0").shape == (11,)
    assert env.action_space("speaker_0").shape == (3,) and env.action_space("listener_0").shape == (5,)
    assert float(env.action_space("speaker_0").high.max()) == 1.0
    assert env.state_space.shape == (14,) and env.max_cycles == 25


def test_seeds_decide_everything_and_unseeded_resets_move_on():
    a, b = parallel_env(SPREAD, seed=7), parallel_env(SPREAD)
    first = [a.reset()[0]["agent_0"] for _ in range(3)]
    b.reset(seed=7)
    second = [b.reset(seed=7)[0]["agent_0"], *(b.reset()[0]["agent_0"] for _ in range(2))]
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    c, d = parallel_env(SPREAD), parallel_env(SPREAD)
    assert not np.array_equal(c.reset()[0]["agent_0"], d.reset()[0]["agent_0"])


def test_masks_are_told_where_actions_can_be_illegal():
    env = parallel_env(MASKED)
    _, infos = env.reset(seed=0)
    agent = env.agents[0]
    mask = infos[agent]["action_mask"]
    assert mask.dtype == np.int8 and mask.shape == (env.action_space(agent).n,) and mask.any()
    env.action_space(agent).sample(mask)
    parallel_api_test(env, num_cycles=60)


def test_pictures():
    env = parallel_env(SPREAD, seed=0, render_mode="rgb_array")
    env.reset()
    pictures = [env.render()]
    for _ in range(25):
        env.step(dict.fromkeys(env.agents, 1))
        pictures.append(env.render())
    assert pictures[0].dtype == np.uint8 and pictures[0].ndim == 3 and pictures[0].shape[2] == 3
    assert not np.array_equal(pictures[0], pictures[10])
    assert not np.array_equal(pictures[24], pictures[25])  # the last step is seen, and nothing of the next episode:
    longer = parallel_env(SPREAD, seed=0, render_mode="rgb_array")
    longer._env = make_env(replace(longer.card, horizon=26), 1)
    longer.reset()
    for _ in range(25):
        longer.step(dict.fromkeys(longer.agents, 1))
    assert np.array_equal(longer.render(), pictures[25])
    env.reset(seed=0)
    assert np.array_equal(env.render(), pictures[0])
    assert parallel_env(SPREAD).render() is None


def test_misuse_is_named():
    env = parallel_env(SPREAD)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step({})
    with pytest.raises(RuntimeError, match="call reset"):
        env.state()
    env.reset()
    with pytest.raises(BadInput, match="expected an action of every live agent, found none of agent_1, agent_2"):
        env.step({"agent_0": 0})
    with pytest.raises(BadInput, match="render_mode: expected None or 'rgb_array', found 'human'"):
        parallel_env(SPREAD, render_mode="human")
    with pytest.raises(UnknownName, match="Did you mean"):
        parallel_env("mpe/simple_sprad-discrete-v1")


def test_documented_example_runs():
    assert doctest.testmod(pettingzoo_export).failed == 0
