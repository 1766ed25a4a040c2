"""Scripts reproduce the cards' reference points and use only what they may."""

import pytest
import torch
import yaml

from rlnet_bench import rng
from rlnet_bench.envs.cards import references
from rlnet_bench.envs.cards.lbf import card, ids
from rlnet_bench.envs.lbf import policies as lp
from rlnet_bench.envs.registry import make_env
from rlnet_bench.errors import UnknownName


@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-v1", "lbf/2s-10x10-3p-3f-v1"])
def test_measured_again_the_reference_points_agree(task):
    block = lp.measure(task, 400, seed=5)
    for point, stored in references("lbf")[task].items():
        se = (float(block[point]["se"]) ** 2 + stored.se**2) ** 0.5
        assert abs(float(block[point]["value"]) - stored.value) < 4 * se + 0.005, point


def test_rally_from_observations_is_rally_on_the_field():
    env = make_env("lbf/10x10-3p-3f-v1", 64)
    env.reset(rng.env_keys([0], rng.Stream.USER, 64))
    for _ in range(20):
        keys = lp.step_keys(env)
        a = lp.rally(env.current().observation, env.card, keys)
        assert torch.equal(a, lp.rally_on_field(env.field, env.rules, keys))
        env.step(a)


def test_rally_never_pays_a_penalty():
    env = make_env("lbf/8x8-3p-3f-pen0.5-v1", 64)
    env.reset(rng.env_keys([0], rng.Stream.USER, 64))
    for _ in range(50):
        out = env.step(lp.rally_on_field(env.field, env.rules, lp.step_keys(env)))
        assert (out.reward >= 0).all()


def test_forage_reads_only_the_own_observation():
    env = make_env("lbf/2s-8x8-2p-2f-coop-v1", 64)
    observation = env.reset(rng.env_keys([0], rng.Stream.USER, 64)).observation
    keys = lp.step_keys(env)
    changed = observation.clone()
    changed[:, 1] = changed[:, 1].roll(1, 0)
    a, b = lp.forage(observation, env.card, keys), lp.forage(changed, env.card, keys)
    assert torch.equal(a[:, 0], b[:, 0]) and not torch.equal(a[:, 1], b[:, 1])


def test_supports():
    assert lp.supports("forage", card("lbf/2s-8x8-2p-2f-coop-v1"))
    assert not lp.supports("rally", card("lbf/2s-8x8-2p-2f-coop-v1"))
    assert lp.supports("rally", card("lbf/8x8-2p-2f-coop-v1"))
    assert not lp.supports("forage", card("lbf/2s-8x8-2p-2f-grid-v1"))
    with pytest.raises(UnknownName, match="forage"):
        lp.supports("foragee", card(ids()[0]))


def test_the_command_prints_a_block(capsys):
    assert lp.main(["lbf/8x8-2p-2f-coop-v1", "--episodes", "16"]) == 0
    block = yaml.safe_load(capsys.readouterr().out)["lbf/8x8-2p-2f-coop-v1"]
    assert set(block) == {"random", "uncoordinated", "best"} and block["best"]["n"] == 16
    assert lp.main(["lbf/8x8-2p-2f-cop-v1"]) == 2
