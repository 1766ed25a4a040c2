"""The LBF environment as an object: conformance, pictures, compilation, refusals."""

import warnings

import pytest
import torch
from envs.lbf import lockstep

from rlnet_bench import rng
from rlnet_bench.envs.cards.lbf import ids
from rlnet_bench.envs.check import check_env
from rlnet_bench.envs.lbf import env as lbf
from rlnet_bench.envs.registry import make_env
from rlnet_bench.errors import BadInput


@pytest.mark.parametrize("task", ["lbf/2s-8x8-2p-2f-coop-v1", "lbf/6x6-3p-3f-pen0.1-masked-clean-v1"])
def test_conformance(task):
    check_env(task, num_envs=4, steps=120).raise_if_failed()


@pytest.mark.slow
@pytest.mark.parametrize("task", [*ids(), "lbf/2s-6x7-4p-3f-pl1to3-pen0.5-h20-grid-masked-v1"])
def test_conformance_of_every_task(task):
    check_env(task, num_envs=8, steps=1000).raise_if_failed()


def test_the_scene_shows_the_board():
    env = make_env("lbf/8x8-2p-2f-coop-v1", 1)
    env.reset(torch.zeros(1, dtype=torch.int64))
    env._field = lockstep.field_of([(0, 0, 1), (7, 3, 2)], [(2, 5, 3)], 2, time=4)
    scene = env.scene(0)
    assert scene.bounds == (0.0, 0.0, 8.0, 8.0) and scene.caption == "step 4 of 50"
    things = [(s.kind, s.x, s.y) for s in scene.shapes if s.kind in ("circle", "rectangle")]
    assert things == [("rectangle", 5.5, 5.5), ("circle", 0.5, 7.5), ("circle", 3.5, 0.5)]
    assert [s.extra for s in scene.shapes if s.kind == "text"] == ["3", "1", "2"]


def test_seeds_of_the_wrong_shape_and_steps_before_reset_are_refused():
    env = make_env("lbf/8x8-2p-2f-coop-v1", 3)
    with pytest.raises(ValueError, match=r"expected shape \(3,\), found \(2,\)"):
        env.reset(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(torch.zeros(3, 2, dtype=torch.int64))


def test_without_a_compiler_compiling_is_refused(monkeypatch):
    def broken(function, **_):
        def run(*_):
            raise RuntimeError("no compiler here")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    keys = rng.env_keys([0], rng.Stream.USER, 4)
    env = make_env("lbf/8x8-2p-2f-coop-v1", 4, compile=True)
    env.reset(keys)
    with pytest.raises(BadInput, match=r"compile: .*found: no compiler here"):
        env.step(torch.zeros(4, 2, dtype=torch.int64))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-v1", "lbf/2s-6x6-3p-3f-pen0.1-masked-v1"])
def test_compiled_equals_eager(task):
    keys = rng.env_keys([0], rng.Stream.USER, 64)
    fast, plain = make_env(task, 64, compile=True), make_env(task, 64)
    fast.reset(keys), plain.reset(keys)
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(110):
            actions = torch.randint(0, 6, (64, plain.card.num_agents), generator=generator)
            for a, b in zip(fast.step(actions), plain.step(actions)):
                assert a is None or torch.equal(a, b)


def test_make_takes_a_card():
    env = make_env("lbf/8x8-2p-2f-coop-v1", 2)
    assert isinstance(lbf.make(env.card, 5), lbf.LbfEnv)
