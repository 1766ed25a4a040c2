"""The VMAS scripts: legal, each agent for itself or not, better than random play, numbers as stored."""

import math

import pytest
import torch
import yaml
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.cards.vmas import ids
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.envs.vmas.policies import SCRIPTS, _act, _drive
from rlnet_bench.envs.vmas.tasks import COORDINATED, UNCOORDINATED
from rlnet_bench.learning import measure
from rlnet_bench.learning.information import execution_class, information_flow
from rlnet_bench.methods import find_method

pytest.importorskip("vmas", reason="vmas is not installed")

WHEEL = "vmas/wheel-continuous-v1"
PASSAGES = ("vmas/ball_passage", "vmas/joint_passage")


def marks(task: str) -> tuple[pytest.MarkDecorator, ...]:
    if task.startswith("vmas/joint_passage"):
        return (pytest.mark.slow, pytest.mark.minutes)
    return (pytest.mark.slow,) if task.startswith((*PASSAGES, "vmas/sampling", "vmas/discovery")) else ()


LONG = [pytest.param(task, marks=marks(task)) for task in ids()]


def script(task: str) -> str:
    return UNCOORDINATED[str(task_card(task).constructor["scenario"])]


def seen_somewhere(task: str, count: int = 6) -> Tensor:
    """Made up observations: a script must cope with any."""
    card = task_card(task)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, card.num_agents, card.observation_size, generator=generator) * 2 - 1


@pytest.mark.parametrize("task", ids())
def test_actions_are_legal_and_a_function_of_the_own_observation(task: str) -> None:
    card, play, seen = task_card(task), SCRIPTS[script(task)], seen_somewhere(task)
    before = seen.clone()
    actions = play(seen, card)
    assert torch.equal(seen, before) and torch.equal(play(seen[2:3], card), actions[2:3])
    if card.action_kind == "discrete":
        assert actions.dtype == torch.int64 and actions.shape == (6, card.num_agents)
        assert (actions >= 0).all() and (actions < 9).all()
    else:
        assert actions.dtype == torch.float32 and actions.shape == (6, card.num_agents, 2)
        assert (actions.abs() <= card.action_high).all()
    other = seen.clone()
    other[:, 1:] = seen_somewhere(task).flip(0)[:, 1:]
    assert torch.equal(play(other, card)[:, 0], actions[:, 0])
    assert torch.isfinite(play(torch.zeros_like(seen), card).to(torch.float32)).all()


@pytest.mark.parametrize("task", [t for t in ids() if "continuous" in t])
def test_discrete_agents_push_where_continuous_ones_do(task: str) -> None:
    card, twin = task_card(task), task_card(task.replace("continuous", "discrete"))
    seen = seen_somewhere(task)
    force, option = SCRIPTS[script(task)](seen, card) / card.action_high, SCRIPTS[script(task)](seen, twin)
    axes = torch.stack((option // 3, option % 3), dim=-1)
    pushed = torch.tensor([0.0, -1.0, 1.0])[axes]
    assert torch.equal(pushed, torch.where(force.abs() > 0.5, force.sign(), 0.0))


def test_vmas_numbers_its_options_like_this() -> None:
    """From rest, each of the nine options moves an agent that way."""
    card = task_card("vmas/dispersion-discrete-v1")
    env = make_env(card, 9)
    env.reset(rng.env_keys([0], rng.Stream.USER, 9))
    wanted = torch.tensor([[x, y] for x in (0, -1, 1) for y in (0, -1, 1)], dtype=torch.float32)
    actions = _act(wanted[:, None].expand(9, 4, 2), card)
    assert actions[:, 0].tolist() == list(range(9))
    assert torch.equal(env.step(actions).observation[:, 0, 2:4].sign(), wanted)


def test_the_drive_gives_the_wanted_velocity() -> None:
    card = task_card("vmas/dispersion-continuous-v1")
    env = make_env(card, 3)
    seen = env.reset(rng.env_keys([0], rng.Stream.USER, 3)).observation
    wanted = torch.tensor([0.03, -0.05]).expand(3, 4, 2)
    for _ in range(3):
        seen = env.step(_act(_drive(wanted, seen[..., 2:4], 0.1), card)).observation
        assert torch.allclose(seen[..., 2:4], wanted, atol=1e-6)


@pytest.mark.parametrize("task", LONG)
def test_the_stored_points_are_those_of_the_scripts(task: str) -> None:
    """Measured again with another seed and fewer episodes; clearly above random play."""
    points = task_card(task).references
    episodes = 32 if task.startswith(PASSAGES) else 64
    returns, _ = measure.measured(task_card(task), script(task), episodes, seed=17)
    point = points["uncoordinated"]
    error = float(returns.std()) / math.sqrt(episodes)
    assert abs(float(returns.mean()) - point.value) < 4 * math.hypot(error, point.se)
    assert point.value - points["random"].value > 5 * math.hypot(point.se, points["random"].se)


@pytest.mark.parametrize("task", ids())
def test_the_cards_say_how_their_points_were_measured(task: str) -> None:
    points = task_card(task).references
    assert list(points) == ["random", "uncoordinated", "best"]
    assert points["uncoordinated"].policy == script(task) and not points["uncoordinated"].provisional
    assert points["best"].provisional and points["best"].value >= points["uncoordinated"].value
    assert all(task in point.command for point in points.values())


def test_the_command_prints_the_block_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure.main([WHEEL, "--policy", "uncoordinated", "--episodes", "8", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    point = yaml.safe_load(printed)[WHEEL]["uncoordinated"]
    assert point["n"] == 8 and point["policy"] == "turn" and "floor" not in printed
    command = f"python -m rlnet_bench.learning.measure {WHEEL} --policy uncoordinated --episodes 8 --seed 3"
    assert point["command"] == command
    assert measure.main([WHEEL, "--policy", "coordinated"]) == 2
    assert (
        "expected a task with a script for `coordinated` play, found {'uncoordinated': 'turn'}"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize("scenario", sorted(COORDINATED))
def test_coordinated_scripts_are_the_provisional_best(scenario: str, kind: str) -> None:
    task = f"vmas/{scenario}-{kind}-v1"
    card, points = task_card(task), task_card(task).references
    assert points["best"].policy == COORDINATED[scenario] and "--policy coordinated" in points["best"].command
    assert points["best"].value - points["uncoordinated"].value > 5 * points["uncoordinated"].se
    returns, _ = measure.measured(card, COORDINATED[scenario], 64, seed=17)
    assert abs(float(returns.mean()) - points["best"].value) <= 4 * float(returns.std()) / 8
    assert SCRIPTS[COORDINATED[scenario]](seen_somewhere(task), card).shape[:2] == (6, card.num_agents)


def test_as_methods() -> None:
    """Uncoordinated runs everywhere and is found to be decentralised; coordinated is refused where there is none."""
    uncoordinated, coordinated = find_method("uncoordinated"), find_method("coordinated")
    for task in ids():
        card = task_card(task)
        assert uncoordinated.impossible(card, uncoordinated.configure({})) is None
        refusal = coordinated.impossible(card, coordinated.configure({}))
        if card.constructor["scenario"] in COORDINATED:
            assert refusal is None
        else:
            assert refusal == f"{task} has no coordinated script (it has {script(task)}, which is uncoordinated)."


@pytest.mark.parametrize(
    ("method", "task", "expected"),
    [
        ("uncoordinated", WHEEL, "D0"),
        ("uncoordinated", "vmas/dropout-discrete-v1", "D0"),
        ("coordinated", "vmas/dispersion-continuous-v1", "D0"),  # a role for each index needs no messages
        ("coordinated", "vmas/dropout-continuous-v1", "C"),
    ],
)
def test_the_execution_class_is_computed(method: str, task: str, expected: str) -> None:
    found, card = find_method(method), task_card(task)
    learner = found.learner(card, found.configure({}), (0,), total_frames=0, training_reward="team_mean")
    policy = learner.policy()
    assert execution_class(policy, information_flow(policy, card)) == expected
