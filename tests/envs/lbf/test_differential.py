"""Every number of every step equals lbforaging's, after copying the state in.

Rewards are compared as float32: both sides divide the same exact integers in float64 and round once.
"""

import numpy as np
import pytest
import torch
from envs.lbf import lockstep

from rlnet_bench import rng
from rlnet_bench.envs.lbf.original import original
from rlnet_bench.envs.lbf.policies import rally_on_field, step_keys
from rlnet_bench.envs.lbf.rules import legal_actions
from rlnet_bench.envs.registry import make_env

pytest.importorskip("lbforaging")

CONFIGURATIONS = (
    "lbf/8x8-2p-2f-coop-v1",
    "lbf/2s-8x8-2p-2f-coop-v1",
    "lbf/15x15-4p-5f-v1",
    "lbf/2s-10x10-3p-3f-v1",
    "lbf/5x5-4p-3f-v1",  # crowded: collisions, overlaps, under-filled fields
    "lbf/2s-8x8-3p-3f-pen0.1-masked-v1",
    "lbf/1s-6x6-4p-4f-coop-pen0.1-h20-v1",
    "lbf/2s-5x7-5p-2f-pl1to4-fl2to6-h30-v1",
    "lbf/2s-6x6-4p-3f-pen0.25-grid-v1",
    "lbf/7x5-3p-2f-pl2to5-grid-masked-v1",
)
BATCH = 16


def purposeful(env, generator):
    """Random actions that load and bump often; a quarter of the environments is played by the best script."""
    mask = legal_actions(env.rules, env.field)
    actions = torch.randint(0, 6, mask.shape[:2], generator=generator)
    loads = mask[..., 5] & (torch.rand(mask.shape[:2], generator=generator) < 0.5)
    actions = torch.where(loads, 5, actions)
    scripted = rally_on_field(env.field, env.rules, step_keys(env))
    return torch.where((torch.arange(BATCH) % 4 == 0)[:, None], scripted, actions)


def compare(task, steps):
    """Step a batch of ours and ``BATCH`` originals together; returns what was met on the way."""
    env = make_env(task, BATCH)
    env.reset(rng.env_keys([11], rng.Stream.TRAINING_ENV, BATCH))
    originals = [original(env.card) for _ in range(BATCH)]
    generator = torch.Generator().manual_seed(5)
    met = {"overlap": 0, "loaded": 0, "failed": 0, "cleared": 0, "time": 0}
    for i in range(BATCH):
        lockstep.copy_in(originals[i], env.field, i)
    for _ in range(-(-steps // BATCH)):
        actions = purposeful(env, generator)
        out = env.step(actions)
        ended = (out.terminated | out.truncated).tolist()
        assert not (out.terminated & out.truncated).any()
        now = env.current()
        assert torch.equal(now.observation, out.observation)
        legal = legal_actions(env.rules, env.field).numpy()
        for i, reference in enumerate(originals):
            _, rewards, done, _, _ = reference.step(actions[i].tolist())
            assert done == ended[i]
            assert np.array_equal(np.asarray(rewards, np.float32), out.reward[i].numpy())
            assert np.array_equal(lockstep.original_observations(reference), out.final_observation[i].numpy())
            if out.final_action_mask is not None:
                assert np.array_equal(lockstep.original_masks(reference), out.final_action_mask[i].numpy())
            board, positions, levels = lockstep.read_original(reference)
            met["overlap"] += len(set(positions)) < len(positions)
            met["loaded"] += max(rewards) > 0
            met["failed"] += min(rewards) < 0
            if done:
                assert bool(out.terminated[i]) == (board.sum() == 0)
                met["cleared" if board.sum() == 0 else "time"] += 1
                eaten = 1 - board.sum() / max(1, reference._food_spawned)
                assert out.success[i].item() == pytest.approx(eaten, abs=1e-7)
                lockstep.copy_in(reference, env.field, i)
            ours = lockstep.read_field(env.field, i, reference.field_size)
            board, positions, levels = lockstep.read_original(reference)
            assert np.array_equal(ours[0], board)
            assert ours[1:] == (positions, levels)
            assert np.array_equal(lockstep.original_masks(reference), legal[i])
            if done:  # the first observation of the new episode
                assert np.array_equal(lockstep.original_observations(reference), out.observation[i].numpy())
    return met


@pytest.mark.parametrize("task", CONFIGURATIONS)
def test_everything_equals_the_original(task):
    compare(task, 208)


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGURATIONS)
def test_everything_equals_the_original_for_2000_steps_each(task):
    met = compare(task, 2_000)
    assert met["time"] > 0 and met["cleared"] > 0 and met["loaded"] > 20
    if "5x5-4p" in task:
        assert met["overlap"] > 0
    if "pen" in task:
        assert met["failed"] > 10
