"""The VMAS adapter against the package: sizes, rewards, conformance, streams, refusals, user's scenarios."""

import dataclasses
import random
from importlib.metadata import version

import numpy as np
import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.cards.vmas import ids
from rlnet_bench.envs.check import check_env
from rlnet_bench.envs.vmas import state as vmas_state
from rlnet_bench.envs.vmas.scenario import draws_from_torch_only
from rlnet_bench.envs.vmas.stream import Stream
from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.typed import make_env, task_card

vmas = pytest.importorskip("vmas", reason="vmas is not installed")

BALANCE = "vmas/balance-continuous-v1"
MARKED = [i if i.startswith(("vmas/transport", BALANCE)) else pytest.param(i, marks=pytest.mark.slow) for i in ids()]
SCENARIO = """
import torch
from vmas.simulator.core import Agent, Sphere, World
from vmas.simulator.scenario import BaseScenario

class Scenario(BaseScenario):
    def make_world(self, batch_dim, device, **kwargs):
        self.reach = kwargs.pop("reach", 0.5)
        self.noise = kwargs.get("noise", 0.0)
        world = World(batch_dim, device)
        world.add_agent(Agent(name="tall", shape=Sphere(0.1), u_range=2.0))
        world.add_agent(Agent(name="small", shape=Sphere(0.05)))
        return world

    def reset_world_at(self, env_index=None):
        size = 1 if env_index is not None else self.world.batch_dim
        for agent in self.world.agents:
            agent.set_pos(torch.zeros(size, 2).uniform_(-1, 1), batch_index=env_index)

    def observation(self, agent):
        own = torch.cat([agent.state.pos, agent.state.vel], dim=-1)
        return own[:, :2] if agent.name == "small" else own

    def reward(self, agent):
        return -agent.state.pos.norm(dim=-1)

    def done(self):
        return torch.stack([a.state.pos.norm(dim=-1) < self.reach for a in self.world.agents]).all(0)
"""


def keys(count: int, seed: int = 0) -> torch.Tensor:
    return rng.env_keys([seed], rng.Stream.USER, count)


def noise(card, steps: int, count: int, seed: int = 0) -> torch.Tensor:
    """Random actions [T, B, N(, A)] from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, count, card.num_agents)
    if card.action_kind == "discrete":
        return torch.randint(card.action_size, shape, generator=generator)
    return (torch.rand(*shape, card.action_size, generator=generator) * 2 - 1) * card.action_high


def plain(card, count: int, **options):
    """The package's own environment of a card."""
    arguments = dict(card.constructor)
    return vmas.make_env(
        arguments.pop("scenario"),
        num_envs=count,
        continuous_actions=card.action_kind == "continuous",
        max_steps=card.horizon,
        terminated_truncated=True,
        **arguments,
        **options,
    )


def parts(card, row: torch.Tensor) -> list[torch.Tensor]:
    """One tensor per agent, as the package takes them."""
    return [row[:, i : i + 1] if row.dim() == 2 else row[:, i] for i in range(card.num_agents)]


@pytest.mark.parametrize("task", MARKED)
def test_the_card_agrees_with_the_real_scenario(task):
    card = task_card(task)
    env = plain(card, 8, seed=0)
    assert card.faithful_to == f"vmas {version('vmas')}"
    assert tuple(agent.name for agent in env.agents) == card.agents
    assert tuple(o.shape[1] for o in env.reset(seed=0)) == card.observation_sizes
    for size, space in zip(card.action_sizes, env.action_space):
        assert size == (space.n if card.action_kind == "discrete" else space.shape[0])
        if card.action_kind == "continuous":
            assert space.low.tolist() == [np.float32(card.action_low)] * size
            assert space.high.tolist() == [np.float32(card.action_high)] * size
    overridden = type(env.scenario).done is not vmas.simulator.scenario.BaseScenario.done
    assert overridden or not card.can_terminate
    equal = True
    for actions in noise(card, 60, 8):
        rewards = torch.stack(env.step(parts(card, actions))[1])
        equal &= bool((rewards == rewards[:1]).all())
    assert equal == card.shared_reward


@pytest.mark.parametrize("task", MARKED)
def test_one_episode_is_the_packages_own(task):
    """Same world, same actions, same stream: the package's numbers, to the bit."""
    card = task_card(task)
    env, other = make_env(card, 4), plain(card, 4, seed=0)
    env.reset(keys(4))
    other.step(parts(card, noise(card, 1, 4)[0]))
    vmas_state.restore(other, vmas_state.capture(env.env), torch.device("cpu"))
    other.vmas_random_state[0] = env.stream.state_dict()["torch"]
    for row in noise(card, 40, 4):
        ours = env.step(row)
        observations, rewards, terminated, _, _ = other.step(parts(card, row))
        assert torch.equal(ours.terminated, terminated)
        assert torch.equal(ours.final_observation, torch.stack(observations, 1))
        assert torch.equal(ours.reward, torch.stack(rewards, 1).view(4, -1))
        if bool(terminated.any()):
            return  # ours begins the next episode, the package plays on


def test_conformance():
    check_env("vmas/transport-continuous-v1", num_envs=3, steps=200).raise_if_failed()


# Long horizons and many substeps: minutes each.
LONG = ("ball_passage", "joint_passage")


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [pytest.param(t, marks=pytest.mark.minutes if any(n in t for n in LONG) else ()) for t in ids()]
)
def test_conformance_of_every_task(task):
    card = task_card(task)
    if any(name in task for name in LONG):  # 500 of their slow steps, a dozen times over, show nothing more
        card = dataclasses.replace(card, horizon=80)
    check_env(card, num_envs=8, steps=min(1000, 4 * card.horizon)).raise_if_failed()


# -- streams -----------------------------------------------------------------------------------------------


def observed(env, actions) -> list[torch.Tensor]:
    return [env.step(row).observation.clone() for row in actions]


def test_two_batches_do_not_disturb_each_other():
    card = dataclasses.replace(task_card("vmas/dispersion-continuous-v1"), horizon=5)
    actions = noise(card, 12, 3)
    alone = make_env(card, 3)
    alone.reset(keys(3))
    expected = observed(alone, actions)
    one = make_env(card, 3)
    one.reset(keys(3))
    found = []
    for row in actions:
        found += observed(one, row[None])
        two = make_env(card, 7)  # an evaluation in between
        two.reset(keys(7, 1))
        observed(two, noise(card, 6, 7))
        stranger = plain(card, 2, seed=3)  # and somebody who uses the package itself
        stranger.reset()
    assert all(torch.equal(a, b) for a, b in zip(expected, found))


def test_the_packages_own_stream_is_left_alone():
    def draws(between) -> torch.Tensor:
        env = plain(task_card(BALANCE), 2, seed=5)
        between()
        return torch.cat(env.reset())

    def use_ours() -> None:
        env = make_env(BALANCE, 2)
        env.reset(keys(2))
        env.step(torch.zeros(2, 4, 2))

    assert torch.equal(draws(lambda: None), draws(use_ours))


def streams():
    numpy = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state(), numpy[1].copy(), numpy[2:], random.getstate()


def assert_untouched(before) -> None:
    after = streams()
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1]) and before[2] == after[2]
    assert before[3] == after[3]


def test_global_streams_survive_an_error_inside_a_step():
    np.random.randn()  # half of a pair of Gaussians stays cached  # noqa: NPY002
    env = make_env(BALANCE, 2)
    env.reset(keys(2))
    before = streams()
    with pytest.raises(AssertionError):
        env.step(torch.full((2, 4, 2), torch.nan))
    assert_untouched(before)
    env.step(torch.zeros(2, 4, 2))
    assert_untouched(before)


def test_a_constructor_that_raises_leaves_the_streams(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(SCENARIO.replace("return world", "torch.rand(3); raise RuntimeError('no world')"))
    before = streams()
    with pytest.raises(BadInput, match="raised RuntimeError: no world"):
        task_card(f"vmas:{path}")
    assert_untouched(before)


def test_scenarios_that_draw_from_numpy_and_random_have_those_streams_too(tmp_path):
    path = tmp_path / "noisy.py"
    drawing = "torch.zeros(size, 2).uniform_(-1, 1) + random.random() + float(np.random.rand())"
    text = SCENARIO.replace("torch.zeros(size, 2).uniform_(-1, 1)", drawing)
    path.write_text("import random\nimport numpy as np\n" + text)
    before = streams()
    env = make_env(f"vmas:{path}:max_steps=3", 2)
    assert not env.stream.only_torch
    first = env.reset(keys(2)).observation.clone()
    state = env.state_dict()
    actions = noise(task_card(BALANCE), 8, 2)[:, :, :2]
    then = observed(env, actions)
    assert torch.equal(env.reset(keys(2)).observation, first)
    assert not torch.equal(env.reset(keys(2, 1)).observation, first)
    env.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(then, observed(env, actions)))
    assert_untouched(before)


def test_published_scenarios_draw_from_torch_alone():
    assert all(draws_from_torch_only(task_card(task)) for task in ids())


def test_the_cuda_generator_is_swapped_with_the_others(monkeypatch):
    """No GPU is needed: the calls are watched."""
    generator, log = {"state": torch.tensor([7], dtype=torch.uint8)}, []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generator["state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generator.update(state=state))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: generator.update(state=torch.tensor([seed % 256])))
    monkeypatch.setattr(torch.cuda, "device", lambda device: Stream(torch.device("cpu")))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: log.append(seed))
    stream = Stream(torch.device("cuda"), only_torch=True)
    with pytest.raises(ZeroDivisionError), stream:
        stream.seed(3)
        assert generator["state"].item() == 3
        raise ZeroDivisionError
    assert generator["state"].item() == 7 and not log
    with stream:
        assert generator["state"].item() == 3


# -- actions, rewards, flags -------------------------------------------------------------------------------


def test_continuous_actions_are_clamped_and_left_as_they_were():
    card = task_card("vmas/give_way-continuous-v1")
    env = make_env(card, 2)
    env.reset(keys(2))
    state, wild = env.state_dict(), torch.full((2, 2, 2), 9.0)
    one = env.step(wild)
    assert bool((wild == 9.0).all())
    env.load_state_dict(state)
    two = env.step(torch.full((2, 2, 2), card.action_high))
    assert torch.equal(one.observation, two.observation)


def test_actions_of_another_shape_are_refused():
    env = make_env(BALANCE, 2)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(torch.zeros(2, 4, 2))
    env.reset(keys(2))
    with pytest.raises(ValueError, match=r"expected shape \(2, 4, 2\), found \(2, 4\)"):
        env.step(torch.zeros(2, 4))


def test_success_on_the_last_step_is_termination_not_truncation():
    card = task_card("vmas/reverse_transport-continuous-v1")
    env = make_env(card, 3)
    env.reset(keys(3))
    package = env.env.scenario.package
    package.state.pos = package.state.pos.clone()
    package.state.pos[1:] = package.goal.state.pos[1:]
    env.env.steps[:2] = card.horizon - 1
    out = env.step(torch.zeros(3, 4, 2))
    assert out.terminated.tolist() == [False, True, True]
    assert out.truncated.tolist() == [True, False, False]
    assert out.success.tolist() == [0.0, 1.0, 1.0]


def test_environments_start_differently_where_vmas_draws_once_for_the_batch():
    for task in ("vmas/give_way-continuous-v1", "vmas/ball_passage-discrete-v1"):
        first = make_env(task, 6).reset(keys(6)).observation
        assert len({tuple(row) for row in first.flatten(1).tolist()}) == 6
        again = make_env(task, 3).reset(keys(6)[:3]).observation
        assert torch.equal(first[:3], again)  # drawn from an environment's own seed
    places = make_env("vmas/ball_passage-discrete-v1", 16)
    places.reset(keys(16))
    gap = next(p for p in places.env.scenario.passages if not p.collide)
    assert len(set(gap.state.pos[:, 0].tolist())) > 3


# -- arguments and user's scenarios ------------------------------------------------------------------------


def test_unknown_scenario_arguments_are_refused():
    card = task_card(BALANCE)
    wrong = dataclasses.replace(card, constructor={**card.constructor, "package_mas": 3})
    with pytest.raises(BadInput, match=r"unknown argument 'package_mas'\. Did you mean 'package_mass'"):
        make_env(wrong, 2)


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "my_scenario.py"
    path.write_text(SCENARIO)
    return path


def test_a_users_scenario_gets_a_card_and_passes_the_contract(scenario):
    card = task_card(f"vmas:{scenario}:reach=0.7,max_steps=40")
    assert card.agents == ("tall", "small")
    assert (card.observation_sizes, card.state_size, card.horizon) == ((4, 2), 6, 40)
    assert card.action_highs == ((2.0, 2.0), (1.0, 1.0))
    assert card.can_terminate and card.resumable and card.floor < 0
    check_env(card.id, num_envs=4, steps=90).raise_if_failed()
    assert task_card(f"vmas:{scenario}:action=discrete").action_sizes == (9, 9)


def test_the_hash_of_a_users_task_follows_the_file(scenario):
    before = task_card(f"vmas:{scenario}").hash()
    assert task_card(f"vmas:{scenario}").hash() == before
    scenario.write_text(SCENARIO.replace("0.05", "0.06"))
    assert task_card(f"vmas:{scenario}").hash() != before


@pytest.mark.parametrize(
    "task, sentence",
    [
        ("vmas:{}:reech=1", "unknown argument 'reech'. Did you mean 'reach'"),
        ("vmas:{}:reach", "expected argument=value, found 'reach'"),
        ("vmas:{}:action=both", "expected one of continuous, discrete, found 'both'"),
        ("vmas:{}:max_steps=0", "expected a positive integer, found 0"),
        ("vmas:nowhere.py", "no such file"),
        ("vmas:{}?reach=1", "found a question mark; say a colon"),
    ],
)
def test_mistakes_in_a_users_task_are_named(scenario, task, sentence):
    with pytest.raises(BadInput, match=sentence):
        task_card(task.format(scenario))


def test_files_without_a_scenario_are_refused(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("x = 1")
    with pytest.raises(BadInput, match="expected a class named Scenario"):
        task_card(f"vmas:{path}")
    path.write_text("import no_such_module_at_all")
    with pytest.raises(BadInput, match="importing it raised ModuleNotFoundError"):
        task_card(f"vmas:{path}")


@pytest.mark.parametrize(
    "before, after, sentence",
    [
        ("def reset_world_at(", "def reset_at(", "expected Scenario to define reset_world_at, found no such method"),
        ("return world", "pass", "making the environment raised AttributeError"),
        (
            'kwargs.get("noise", 0.0)',
            "1 / 0",
            r"environment raised ZeroDivisionError: .*my_scenario.py, line 9, in make_world",
        ),
        (
            "return own[",
            "return nothing[",
            r"environment raised NameError: .*my_scenario.py, line 22, in observation",
        ),
        (
            "return own[:, :2]",
            "return own[0]",
            r"observation of small: expected a tensor \[B, O\].*found \(4,\) where B = 3",
        ),
        ("return own[:, :2]", "return {'own': own}", r"observation of small: expected a tensor \[B, O\].*found dict"),
        ("return own[:, :2]", "return own[:, :2].T", r"observation of small: .*found \(2, 3\) where B = 3"),
        ("norm(dim=-1)\n\n    def done", "norm(dim=0)\n\n    def done", r"reward of tall: .*found \(2,\) where B = 32"),
        ("return -agent", "return 3 or -agent", r"raised at random play: AttributeError: 'int'"),
    ],
)
def test_a_scenario_s_mistakes_are_sentences(scenario, before, after, sentence):
    assert before in SCENARIO
    scenario.write_text(SCENARIO.replace(before, after))
    with pytest.raises(BadInput, match=sentence):
        task_card(f"vmas:{scenario}")


def test_a_scenario_that_is_taken_for_a_parallel_env_is_sent_to_its_door(scenario):
    pytest.importorskip("pettingzoo")
    with pytest.raises(BadInput, match=r"A VMAS scenario is named vmas:.*my_scenario\.py"):
        task_card(f"{scenario}:Scenario")


def test_scenarios_of_the_package_can_be_named():
    assert task_card("vmas:wind_flocking").num_agents == 2
    with pytest.raises(UnknownName, match="Did you mean 'football'"):
        task_card("vmas:footbal")


# -- pictures ----------------------------------------------------------------------------------------------


def test_the_scene_shows_the_entities():
    env = make_env(BALANCE, 2)
    env.reset(keys(2))
    scene = env.scene(1)
    kinds = [s.kind for s in scene.shapes]
    assert kinds == ["circle", "circle", "line", "rectangle"] + 4 * ["circle"]
    package = env.env.scenario.package
    assert (scene.shapes[1].x, scene.shapes[1].y) == tuple(package.state.pos[1].tolist())
    assert scene.shapes[1].colour == (191, 64, 64)


def test_eaten_food_is_not_drawn():
    env = make_env("vmas/dispersion-continuous-v1", 1)
    env.reset(keys(1))
    count = len(env.scene(0).shapes)
    food = env.env.world.landmarks[0]
    food.state.pos = torch.zeros(1, 2)
    env.step(torch.zeros(1, 4, 2))
    assert len(env.scene(0).shapes) == count - 1
