"""The traps of the original that a rewrite gets wrong, each played by hand on both sides."""

import numpy as np
import pytest
import torch
from envs.lbf import lockstep

from rlnet_bench import rng
from rlnet_bench.envs.lbf.original import original
from rlnet_bench.envs.registry import make_env
from rlnet_bench.errors import MissingExtra

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
FAR_FOOD = [(6, 6, 4)]


def play(task, players, foods, actions, time=0):
    """One step from a hand-made field; compared with the original where it is installed."""
    env = make_env(task, 1)
    env.reset(torch.zeros(1, dtype=torch.int64))
    env._field = lockstep.field_of(players, foods, env.rules.foods, time)
    before = env.field
    observation = env.current().observation
    out = env.step(torch.tensor([actions]))
    if not env.rules.clean:
        try:
            reference = original(env.card)
        except MissingExtra:
            return env, out
        lockstep.copy_in(reference, before, 0)
        assert np.array_equal(lockstep.original_observations(reference), observation[0].numpy())
        _, rewards, done, _, _ = reference.step(actions)
        assert np.array_equal(np.asarray(rewards, np.float32), out.reward[0].numpy())
        assert np.array_equal(lockstep.original_observations(reference), out.final_observation[0].numpy())
        assert done == bool(out.terminated | out.truncated)
    return env, out


def cells(env):
    return list(zip(env.field.row[:, 0].tolist(), env.field.column[:, 0].tolist()))


def test_two_players_swap_places():
    env, _ = play("lbf/8x8-2p-2f-coop-v1", [(2, 2, 1), (2, 3, 1)], FAR_FOOD, [EAST, WEST])
    assert cells(env) == [(2, 3), (2, 2)]


def test_a_player_follows_another():
    env, _ = play("lbf/8x8-2p-2f-coop-v1", [(2, 2, 1), (2, 3, 1)], FAR_FOOD, [EAST, EAST])
    assert cells(env) == [(2, 3), (2, 4)]


def test_moving_onto_a_standing_or_loading_player_fails():
    env, _ = play("lbf/8x8-2p-2f-coop-v1", [(2, 2, 1), (2, 3, 1)], FAR_FOOD, [EAST, NONE])
    assert cells(env) == [(2, 2), (2, 3)]
    env, _ = play("lbf/8x8-2p-2f-coop-v1", [(2, 2, 1), (2, 3, 1)], [(3, 3, 4)], [EAST, LOAD])
    assert cells(env) == [(2, 2), (2, 3)]


def test_a_player_enters_the_cell_of_one_whose_move_fails_in_a_collision():
    # 1 and 2 both want (2, 4) and stay; 0 enters the cell of 1 all the same.
    players = [(2, 2, 1), (2, 3, 1), (2, 5, 2)]
    env, _ = play("lbf/8x8-3p-2f-v1", players, FAR_FOOD, [EAST, EAST, WEST])
    assert cells(env) == [(2, 3), (2, 3), (2, 5)]


def test_overlapping_players_part_again():
    env, _ = play("lbf/8x8-3p-2f-v1", [(2, 3, 1), (2, 3, 1), (4, 5, 2)], FAR_FOOD, [EAST, WEST, NONE])
    assert cells(env) == [(2, 4), (2, 2), (4, 5)]


def test_clean_has_no_overlap_along_a_chain():
    players = [(2, 1, 1), (2, 2, 1), (2, 3, 1), (2, 5, 2)]
    env, _ = play("lbf/8x8-4p-2f-clean-v1", players, FAR_FOOD, [EAST, EAST, EAST, WEST])
    assert cells(env) == [(2, 1), (2, 2), (2, 3), (2, 5)]


def test_clean_still_swaps_and_follows():
    players = [(2, 2, 1), (2, 3, 1), (5, 1, 1), (5, 2, 1)]
    env, _ = play("lbf/8x8-4p-2f-clean-v1", players, FAR_FOOD, [EAST, WEST, EAST, EAST])
    assert cells(env) == [(2, 3), (2, 2), (5, 2), (5, 3)]


def test_clean_fields_never_hold_two_players_in_a_cell():
    env = make_env("lbf/5x5-5p-2f-clean-v1", 256)
    env.reset(rng.env_keys([3], rng.Stream.TRAINING_ENV, 256))
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        env.step(torch.randint(0, 6, (256, 5), generator=generator))
        code = (env.field.row * 5 + env.field.column).sort(0).values
        assert (code[1:] != code[:-1]).all()


def test_a_player_at_the_top_left_sees_players_beyond_its_sight():
    players = [(0, 0, 1), (4, 4, 2)]
    env, out = play("lbf/2s-8x8-2p-2f-coop-v1", players, FAR_FOOD, [NONE, NONE])
    assert out.observation[0, 0, 6:].tolist() == [0, 0, 1, 4, 4, 2]
    assert out.observation[0, 1, 6:].tolist() == [2, 2, 2, -1, -1, 0]  # but not the other way round


def test_a_player_at_the_bottom_right_does_not():
    env, out = play("lbf/2s-8x8-2p-2f-coop-v1", [(7, 7, 1), (4, 4, 2)], [(1, 1, 4)], [NONE, NONE])
    assert out.observation[0, 0, 6:].tolist() == [2, 2, 1, -1, -1, 0]


def test_clean_sight_is_the_same_everywhere():
    task = "lbf/2s-8x8-2p-2f-coop-clean-v1"
    env, out = play(task, [(0, 0, 1), (4, 4, 2)], FAR_FOOD, [NONE, NONE])
    assert out.observation[0, 0, 6:].tolist() == [0, 0, 1, -1, -1, 0]
    env, out = play(task, [(0, 0, 1), (2, 2, 2)], FAR_FOOD, [NONE, NONE])
    assert out.observation[0, 0, 6:].tolist() == [0, 0, 1, 2, 2, 2]


def test_observation_slots_shift_when_food_is_eaten():
    players, foods = [(2, 3, 1), (2, 1, 1)], [(2, 2, 2), (5, 5, 2)]
    env, out = play("lbf/8x8-2p-2f-coop-v1", players, foods, [LOAD, LOAD])
    assert out.observation[0, 0, :6].tolist() == [5, 5, 2, -1, -1, 0]
    assert out.reward[0].tolist() == [0.25, 0.25]


def test_rewards_are_shares_of_level_and_food():
    players, foods = [(2, 3, 1), (2, 1, 2)], [(2, 2, 3), (5, 5, 1)]
    _, out = play("lbf/8x8-2p-2f-v1", players, foods, [LOAD, LOAD])
    assert out.reward[0].tolist() == pytest.approx([1 * 3 / (3 * 4), 2 * 3 / (3 * 4)])


def test_a_failed_load_costs_each_loader_the_penalty():
    players, foods = [(2, 3, 1), (2, 1, 1)], [(2, 2, 3)]
    _, out = play("lbf/8x8-2p-2f-pen0.1-v1", players, foods, [LOAD, NONE])
    assert out.reward[0].tolist() == [np.float32(-0.1), 0.0]


def test_an_illegal_load_is_free():
    _, out = play("lbf/8x8-2p-2f-pen0.1-v1", [(2, 3, 1), (0, 0, 1)], FAR_FOOD, [LOAD, LOAD])
    assert out.reward[0].tolist() == [0.0, 0.0]


def test_moves_off_the_grid_and_into_food_do_nothing():
    env, _ = play("lbf/8x8-2p-2f-coop-v1", [(0, 0, 1), (3, 2, 1)], [(3, 3, 2)], [NORTH, EAST])
    assert cells(env) == [(0, 0), (3, 2)]


def test_actions_out_of_range_do_nothing():
    env = make_env("lbf/8x8-2p-2f-coop-v1", 1)
    env.reset(torch.zeros(1, dtype=torch.int64))
    env._field = lockstep.field_of([(2, 2, 1), (4, 4, 1)], FAR_FOOD, 2)
    out = env.step(torch.tensor([[-3, 77]]))
    assert cells(env) == [(2, 2), (4, 4)] and not out.reward.any()


def test_the_time_limit_truncates_and_an_empty_field_terminates():
    players, foods = [(2, 3, 1), (2, 1, 1)], [(2, 2, 2)]
    _, out = play("lbf/8x8-2p-2f-coop-v1", players, foods, [NONE, NONE], time=49)
    assert (bool(out.terminated), bool(out.truncated)) == (False, True)
    assert out.success.item() == 0.0
    _, out = play("lbf/8x8-2p-2f-coop-v1", players, foods, [LOAD, LOAD], time=20)
    assert (bool(out.terminated), bool(out.truncated)) == (True, False)
    assert out.success.item() == 1.0


def test_clearing_the_field_in_the_last_step_terminates():
    players, foods = [(2, 3, 1), (2, 1, 1)], [(2, 2, 2)]
    _, out = play("lbf/8x8-2p-2f-coop-v1", players, foods, [LOAD, LOAD], time=49)
    assert (bool(out.terminated), bool(out.truncated)) == (True, False)
    assert out.agent_terminated.tolist() == [[True, True]]


def test_a_field_without_food_terminates_in_the_first_step():
    _, out = play("lbf/8x8-2p-2f-coop-v1", [(2, 3, 1), (2, 1, 1)], [], [NONE, NONE])
    assert bool(out.terminated) and not bool(out.truncated) and out.success.item() == 0.0


def test_the_episode_after_the_last_one_is_fresh():
    env, out = play("lbf/8x8-2p-2f-coop-v1", [(2, 3, 1), (2, 1, 1)], [(2, 2, 2)], [LOAD, LOAD], time=3)
    assert env.field.time.item() == 0 and env.field.episode.item() == 1
    assert not torch.equal(out.observation, out.final_observation)
    assert torch.equal(env.current().observation, out.observation)


@pytest.mark.parametrize("task", ["lbf/8x8-3p-3f-v1", "lbf/8x8-4p-3f-v1"])
def test_food_reaches_the_cap_of_the_three_lowest_levels(task):
    env = make_env(task, 4096)
    env.reset(rng.env_keys([1], rng.Stream.TRAINING_ENV, 4096))
    cap = env.field.level.sort(0).values[:3].sum(0)
    level = env.field.food & 255
    assert (level <= cap).all() and (level.amin(0) >= 1).all()
    assert (level == cap).any(1).all()  # in every slot
    # inclusive: one food in `cap` of those with that cap, not none
    for value in range(3, 7):
        at = level[:, cap == value]
        share = (at == value).float().mean().item()
        assert share == pytest.approx(1 / value, abs=0.05)


def test_coop_food_takes_the_three_lowest_levels():
    env = make_env("lbf/8x8-4p-2f-coop-v1", 512)
    env.reset(rng.env_keys([1], rng.Stream.TRAINING_ENV, 512))
    cap = env.field.level.sort(0).values[:3].sum(0)
    assert ((env.field.food & 255) == cap).all()


def test_5x5_never_gets_three_foods():
    env = make_env("lbf/5x5-2p-3f-v1", 8192)
    env.reset(rng.env_keys([1], rng.Stream.TRAINING_ENV, 8192))
    count = ((env.field.food & 255) > 0).sum(0)
    assert count.max() == 2
    assert (count == 1).float().mean().item() == pytest.approx(0.12, abs=0.02)
