"""The MPE family around its physics: success, scenes, compilation."""

from typing import Any

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.cards.mpe import ids
from rlnet_bench.envs.mpe.policies import uniform_actions
from rlnet_bench.envs.mpe.spread import _square_limit
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.rng import Stream

SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"


def keys(count: int) -> torch.Tensor:
    return rng.env_keys([0], Stream.USER, count)


def started(task: str, count: int, **world: torch.Tensor) -> Any:
    env = make_env(task, count)
    env.reset(keys(count))
    state = env.state_dict()
    env.load_state_dict({**state, "world": {**state["world"], **world}})
    return env


# -- success --------------------------------------------------------------------------------------------


def test_success_of_spread_is_the_share_of_landmarks_within_a_tenth() -> None:
    landmark = torch.tensor([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9]], dtype=torch.float64)
    near = landmark + torch.tensor([[0.0999, 0.0], [0.0, 0.0], [0.0, -0.1001]])
    far = landmark.flip(0) * 0 - 0.9 + torch.arange(3)[:, None] * 0.31
    position = torch.stack((near, landmark.roll(1, 0), far), dim=-1)
    env = started(SPREAD, 3, landmark=landmark[..., None].expand(-1, -1, 3).clone(), position=position)
    assert torch.allclose(last(env).success, torch.tensor([2 / 3, 1.0, 0.0]))


@pytest.mark.parametrize("task", [SPEAKER, REFERENCE])
def test_success_of_the_talking_tasks_is_the_share_of_goals_reached(task: str) -> None:
    landmark = torch.tensor([[0.5, 0.5], [-0.5, 0.5], [0.0, -0.5]], dtype=torch.float64)
    both = landmark[[1, 0]]  # agent 1 stands on landmark 0, agent 0 on landmark 1
    goal = torch.tensor([[0, 0, 2], [1, 2, 2]])[: 1 if task == SPEAKER else 2]
    env = started(
        task,
        3,
        landmark=landmark[..., None].expand(-1, -1, 3).clone(),
        position=both[..., None].expand(-1, -1, 3).clone(),
        goal=goal,
    )
    expected = [1.0, 1.0, 0.0] if task == SPEAKER else [1.0, 0.5, 0.0]
    assert last(env).success.tolist() == expected


def last(env: Any) -> Any:
    """The transition that ends the episode, nobody moving."""
    idle = torch.zeros(env.num_envs, env.card.num_agents, dtype=torch.int64)
    for _ in range(env.card.horizon):
        out = env.step(idle)
    return out


@pytest.mark.parametrize("limit", [0.3, 0.15, 0.1, 1.0, 2 / 3, 2 * 0.15])
def test_comparing_squares_equals_comparing_roots(limit: float) -> None:
    t = _square_limit(limit)
    near = torch.full((4001,), limit * limit, dtype=torch.float64).view(torch.int64) + torch.arange(-2000, 2001)
    near = near.view(torch.float64)  # the 4,001 doubles around the square
    assert torch.equal(near < t, torch.sqrt(near) < limit)
    assert (near < t).any() and not (near < t).all()


# -- scenes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ids())
def test_a_scene_shows_every_landmark_and_agent_where_it_is(task: str) -> None:
    env = make_env(task, 3)
    env.reset(keys(3))
    for step in range(5):
        env.step(uniform_actions(rng.fold(keys(3), step), env.card))
    scene, world = env.scene(1), env.state_dict()["world"]
    landmarks, agents = world["landmark"][..., 1].tolist(), world["position"][..., 1].tolist()
    radii = {"spread": (0.05, 0.15), "speaker": (0.04, 0.075), "reference": (0.05, 0.05)}
    mark, body = next(r for name, r in radii.items() if name in task)
    # In reference bodies and landmarks have one size and the same colours: rings tell them apart.
    marks = [("ring" if mark == body else "circle", mark, *place) for place in landmarks]
    bodies = [("circle", body, *place) for place in agents]
    # An agent that is larger than a landmark stands behind it.
    assert [(s.kind, s.size, s.x, s.y) for s in scene.shapes] == (bodies + marks if body > mark else marks + bodies)
    x0, y0, x1, y1 = scene.bounds
    assert x0 < -1 and y0 < -1 and x1 > 1 and y1 > 1, "every start position is in the picture"
    assert scene.caption.startswith("step 5")
    for shape in scene.shapes:
        assert all(type(v) is float for v in (shape.x, shape.y, shape.size))
        assert len(shape.colour) == 3 and all(0 <= c <= 255 for c in shape.colour)


def test_a_scene_shows_goals_and_words() -> None:
    env = started(REFERENCE, 1, goal=torch.tensor([[2], [0]]))
    assert env.scene(0).caption == "step 0  message - -"
    shapes = env.scene(0).shapes
    landmarks, agents = shapes[:3], shapes[3:]
    assert len({s.colour for s in landmarks}) == 3
    # Agent 0 knows the goal of agent 1 and the other way round; a body wears the colour of where it must go.
    assert agents[1].colour == landmarks[2].colour and agents[0].colour == landmarks[0].colour
    env.step(torch.tensor([[5 * 7, 5 * 3]]))
    assert env.scene(0).caption == "step 1  message 7 3"
    env = started(SPEAKER, 1, goal=torch.tensor([[1]]))
    _, listener, *landmarks = env.scene(0).shapes
    assert listener.colour == landmarks[1].colour
    assert "message" not in make_spread_scene().caption


def make_spread_scene() -> Any:
    return started(SPREAD, 1).scene(0)


# -- compilation ------------------------------------------------------------------------------------------


def compiler_works() -> bool:
    try:
        doubled = torch.compile(lambda x: torch.exp(x) * 2, dynamic=False)(torch.ones(64))
        return bool(torch.isfinite(doubled).all())
    except Exception:  # whatever the compiler raises
        return False


@pytest.mark.slow
@pytest.mark.parametrize("task", ids())
def test_compiled_agrees_with_eager(task: str) -> None:
    """To float32 tolerance: compiled kernels may fuse and round differently in the last bit of float64."""
    if not compiler_works():
        pytest.skip("compiler: torch.compile finds no working C++ compiler")
    eager, fast = make_env(task, 256), make_env(task, 256, compile=True)
    assert torch.equal(eager.reset(keys(256)).observation, fast.reset(keys(256)).observation)
    for step in range(50):
        action = uniform_actions(rng.fold(keys(256), step), task_card(task))
        a, b = eager.step(action), fast.step(action)
        assert torch.equal(a.truncated, b.truncated)
        if (step + 1) % 25 == 0:  # resets are integer arithmetic and exact scaling: equal to the bit
            assert torch.equal(a.observation, b.observation)
        assert torch.allclose(a.final_observation, b.final_observation, atol=1e-5)
        assert torch.allclose(a.observation, b.observation, atol=1e-5)
        assert torch.allclose(a.reward, b.reward, atol=1e-4)


def test_without_a_compiler_compiling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any, **_: Any) -> Any:
        def fail(*args: Any) -> Any:
            raise RuntimeError("no C++ compiler found\nmore lines")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    env = make_env(SPREAD, 4, compile=True)
    env.reset(keys(4))
    for _ in range(2):  # and it is not forgotten
        with pytest.raises(BadInput, match=r"^compile: expected a machine .*, found: no C\+\+ compiler found\. "):
            env.step(torch.tensor([[1, 2, 3]] * 4))


@pytest.mark.slow
def test_many_shapes_in_one_process_are_all_compiled() -> None:
    """The compiler's own limit is 8; past it, it would go on eagerly with no more than a log line."""
    if not compiler_works():
        pytest.skip("compiler: torch.compile finds no working C++ compiler")
    from torch._dynamo.utils import counters

    for count in range(40, 52):
        before = counters["stats"]["unique_graphs"]
        env = make_env(SPREAD, count, compile=True)
        env.reset(keys(count))
        env.step(torch.zeros(count, 3, dtype=torch.int64))
        assert counters["stats"]["unique_graphs"] == before + 1, f"{count} environments: not compiled"
