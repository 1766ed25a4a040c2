"""The scripts behind the reference points: what they decide, and that the stored numbers are theirs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import linear_sum_assignment, minimize
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards import mpe as cards
from rlnet_bench.envs.cards.mpe import ids
from rlnet_bench.envs.mpe import policies as scripts
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import UnknownName

SPREAD = "mpe/simple_spread-discrete-v1"
PAIRS = [(task, name) for task in ids() for name in scripts.SCRIPTS if scripts.supports(name, task_card(task))]
UNTAUGHT = {"nearest": "uncoordinated", "silent": "uncoordinated", "assignment": "best", "signal": "best"}


def observed(task: str, count: int = 256, steps: int = 0) -> Tensor:
    """Observations after some random steps."""
    env = make_env(task, count)
    keys = rng.env_keys([1], rng.Stream.USER, count)
    seen = env.reset(keys).observation
    for step in range(steps):
        seen = env.step(scripts.uniform_actions(rng.fold(keys, step), env.card)).observation
    return seen.clone()


# -- shapes and purity ------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_scripts_are_pure_batched_and_legal(task: str, name: str) -> None:
    card, seen = task_card(task), observed(task, steps=7)
    before = seen.clone()
    actions = scripts.SCRIPTS[name](seen, card)
    assert torch.equal(seen, before) and torch.equal(actions, scripts.SCRIPTS[name](seen, card))
    if card.action_kind == "discrete":
        assert actions.dtype == torch.int64 and actions.shape == (256, card.num_agents)
        assert (actions >= 0).all() and (actions < torch.tensor(card.action_sizes)).all()
    else:
        assert actions.dtype == torch.float32 and actions.shape == (256, card.num_agents, card.action_size)
        assert (actions >= 0).all() and (actions <= 1).all()
    for i in (0, 100):
        assert torch.equal(scripts.SCRIPTS[name](seen[i : i + 1], card), actions[i : i + 1])


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_scripts_read_what_they_say(task: str, name: str) -> None:
    """Changing another agent's observation changes an action only where all are read."""
    card, seen = task_card(task), observed(task, steps=7)
    actions = scripts.SCRIPTS[name](seen, card)
    other = seen.clone()
    other[:, 1:] = observed(task, steps=9).flip(0)[:, 1:]
    changed = (scripts.SCRIPTS[name](other, card)[:, 0] != actions[:, 0]).any()
    assert bool(changed) == (scripts.reads[name] == "all")


def test_every_script_is_described() -> None:
    assert set(scripts.reads) == set(scripts.SCRIPTS) == set(UNTAUGHT)
    assert {task for task, _ in PAIRS} == set(ids()) and len(PAIRS) == 2 * len(ids())
    with pytest.raises(UnknownName, match="Did you mean 'nearest'"):
        scripts.supports("nearst", task_card(SPREAD))


# -- decisions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_assignment_is_the_optimum(n: int) -> None:
    cost = torch.rand(50, n, n, generator=torch.Generator().manual_seed(0))
    chosen = scripts._best_assignment(cost)
    for c, mine in zip(cost.numpy(), chosen.numpy()):
        rows, best = linear_sum_assignment(c)
        assert sorted(mine) == list(range(n))
        assert c[rows, mine].sum() == pytest.approx(c[rows, best].sum(), abs=1e-6)


def test_the_greedy_assignment_takes_the_closest_pair_first() -> None:
    cost = torch.rand(20, 8, 8, generator=torch.Generator().manual_seed(0))
    for c, mine in zip(cost, scripts._greedy_assignment(cost)):
        assert sorted(mine.tolist()) == list(range(8))
        left, expected = c.clone(), {}
        while len(expected) < 8:
            agent, landmark = divmod(int(left.argmin()), 8)
            expected[agent] = landmark
            left[agent], left[:, landmark] = math.inf, math.inf
        assert mine.tolist() == [expected[a] for a in range(8)]


def test_the_silent_mover_goes_to_the_point_of_least_expected_cost() -> None:
    generator = np.random.default_rng(0)
    landmarks = generator.uniform(-1, 1, (40, 3, 2))
    landmarks[0] = [[0, 0], [1, 0.01], [2, 0]]  # an angle above 120 degrees
    landmarks[1] = [[0.3, 0.3], [0.3, 0.3], [-0.5, 0.1]]  # two on one point
    seen = torch.zeros(40, 2, 21)
    seen[..., 2:8] = torch.from_numpy(landmarks).float().flatten(1)[:, None]
    middle = scripts._uninformed(seen, task_card("mpe/simple_speaker_listener-discrete-v1"))[:, 0]
    assert np.allclose(middle.numpy(), landmarks.mean(axis=1), atol=1e-6)
    median = scripts._uninformed(seen, task_card("mpe/simple_reference-discrete-v1"))[:, 0].double().numpy()

    def cost(point: np.ndarray, corners: np.ndarray) -> float:
        return float(np.linalg.norm(corners - point, axis=1).sum())

    for corners, mine in zip(landmarks, median):
        starts = [*corners, corners.mean(axis=0)]
        best = min(minimize(cost, s, args=(corners,), method="Nelder-Mead").fun for s in starts)
        assert cost(mine, corners) <= best + 1e-5


def test_signal_says_and_follows_the_goal() -> None:
    card = task_card("mpe/simple_reference-discrete-v1")
    seen = torch.zeros(1, 2, 21)
    seen[0, 0, 8:11] = torch.tensor([0.25, 0.75, 0.25])  # agent 0 knows landmark 1
    seen[0, 1, 8:11] = torch.tensor([0.25, 0.25, 0.75])
    seen[0, :, 2:8] = torch.tensor([1.0, 0.0, -1.0, 0.0, 0.0, 1.0])  # right, left, up
    seen[0, 0, 11 + 2] = 1.0
    seen[0, 1, 11 + 1] = 1.0
    actions = scripts.signal(seen, card)[0]
    assert (actions // 5).tolist() == [1, 2], "says what it knows"
    assert (actions % 5).tolist() == [4, 1], "agent 0 heard 2 and goes up, agent 1 heard 1 and goes left"


# -- the control law ------------------------------------------------------------------------------------


def test_full_braking_stops_where_the_law_says() -> None:
    way = torch.linspace(0.001, 0.325, 200, dtype=torch.float64)
    velocity, travelled = scripts._wanted_velocity(way), torch.zeros_like(way)
    assert velocity.max() <= 2.0 + 1e-9
    for _ in range(6):
        travelled += 0.1 * velocity
        velocity = (0.75 * velocity - scripts.PUSH).clamp(min=0.0)
    assert torch.allclose(travelled, way) and not velocity.any()
    assert torch.allclose(scripts._wanted_velocity(-way), -scripts._wanted_velocity(way))


@pytest.mark.parametrize(("kind", "steps", "within"), [("continuous", 16, 1e-3), ("discrete", 24, 0.08)])
def test_an_agent_arrives_and_stays(kind: str, steps: int, within: float) -> None:
    """Straight to targets at most 2 away, from a moving start."""
    card = task_card(f"mpe/simple_spread-{kind}-v1")
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(500, 3, 2, generator=generator) * 2 - 1
    position = torch.rand(500, 3, 2, generator=generator) * 2 - 1
    velocity = torch.rand(500, 3, 2, generator=generator) - 0.5
    for step in range(steps + 10):
        action = scripts._push(target - position, velocity, card)
        if kind == "discrete":
            action = torch.nn.functional.one_hot(action, 5).float()
        push = (action[..., (2, 4)] - action[..., (1, 3)]) * scripts.PUSH
        position, velocity = position + 0.1 * velocity, 0.75 * velocity + push
        if step >= steps:
            assert (target - position).abs().max() < within


# -- stored numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_the_cards_hold_all_three_reference_points(task: str) -> None:
    card = task_card(task)
    points = card.references
    assert list(points) == ["random", "uncoordinated", "best"]
    assert points["random"].value < points["uncoordinated"].value < points["best"].value
    assert all(p.n == 100_000 and 0 < p.se < 0.3 and task in p.command for p in points.values())
    assert UNTAUGHT[points["uncoordinated"].policy] == "uncoordinated"
    assert UNTAUGHT[points["best"].policy] == "best"
    assert card.floor == cards._FLOORS[task] < points["random"].value


@pytest.mark.parametrize("task", ids())
def test_the_stored_numbers_are_those_of_the_scripts(task: str) -> None:
    """Measured again with another seed and fewer episodes."""
    for point in task_card(task).references.values():
        returns = scripts.measure(task, None if point.policy == "random" else point.policy, 2048, seed=17)
        error = math.hypot(point.se, float(returns.std()) / math.sqrt(len(returns)))
        assert abs(float(returns.mean()) - point.value) < 4 * error, point.policy


def test_the_command_prints_the_block_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    task = "mpe/simple_reference-discrete-v1"
    assert scripts.main([task, "--episodes", "300", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    block = yaml.safe_load(printed)[task]
    assert list(block) == ["random", "uncoordinated", "best"] and "# floor of" in printed
    assert block["best"]["n"] == 300 and block["best"]["policy"] == "signal"
    assert scripts.main(["mpe/simple_sprad-discrete-v1"]) == 2
    assert "Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("task", ids())
def test_random_play_is_uniform(task: str) -> None:
    card = task_card(task)
    actions = scripts.uniform_actions(rng.env_keys([0], rng.Stream.ACTION, 30_000), card)
    if card.action_kind == "continuous":
        assert actions.shape == (30_000, card.num_agents, card.action_size)
        assert (actions.mean(dim=0) - 0.5).abs().max() < 0.01 and actions.min() >= 0 and actions.max() <= 1
        return
    for agent, size in enumerate(card.action_sizes):
        counts = torch.bincount(actions[:, agent], minlength=size)
        assert len(counts) == size and (counts / 30_000 - 1 / size).abs().max() < 0.012


# -- the same scripts on the original ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name"),
    [(SPREAD, "assignment"), (SPREAD, "nearest"), ("mpe/simple_reference-continuous-v1", "signal")],
)
def test_mpe2_gives_the_script_the_same_score(task: str, name: str) -> None:
    """300 episodes of mpe2, drawn and stepped by mpe2, within 3 standard errors of the card."""
    pytest.importorskip("mpe2", reason="mpe2 is not installed")
    card = task_card(task)
    returns = np.array(original_returns(card, scripts.SCRIPTS[name], 300))
    point = card.references[UNTAUGHT[name]]
    error = math.hypot(point.se, returns.std(ddof=1) / math.sqrt(len(returns)))
    assert abs(returns.mean() - point.value) < 3 * error


def original_returns(card: TaskCard, script: Callable[[Tensor, TaskCard], Tensor], episodes: int) -> list[float]:
    from mpe2 import simple_reference_v3, simple_spread_v3

    modules: dict[str, Any] = {"simple_spread": simple_spread_v3, "simple_reference": simple_reference_v3}
    continuous = card.action_kind == "continuous"
    env = modules[card.constructor["scenario"]].parallel_env(continuous_actions=continuous)
    returns = []
    for episode in range(episodes):
        seen, _ = env.reset(seed=episode)
        total = 0.0
        while env.agents:
            stacked = torch.from_numpy(np.stack([seen[name] for name in card.agents]))
            chosen = script(stacked[None], card)[0]
            actions = chosen.numpy() if continuous else chosen.tolist()
            seen, reward, *_ = env.step(dict(zip(card.agents, actions)))
            total += sum(reward.values())
        returns.append(total)
    return returns
