"""What VMAS environments hold: captured, restored, and merged when only some episodes end."""

import dataclasses

import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs.cards.vmas import ids
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.envs.vmas.merge import Before
from rlnet_bench.envs.vmas.state import UncapturedState, capture, restore
from rlnet_bench.runs.checkpoint import read_newest, write_checkpoint

pytest.importorskip("vmas", reason="vmas is not installed")

CONTINUOUS = [i for i in ids() if "continuous" in i]
FAST = ("vmas/transport", "vmas/balance")
MARKED = [i if i.startswith(FAST) else pytest.param(i, marks=pytest.mark.slow) for i in CONTINUOUS]
B = 6


def noise(card, steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (steps, B, card.num_agents, card.action_size)
    return (torch.rand(*shape, generator=generator) * 2 - 1) * card.action_high


def started(card, rows=()):
    env = make_env(card, B)
    env.reset(rng.env_keys([3], rng.Stream.USER, B))
    for row in rows:
        env.step(row)
    return env


def assert_same(one, two, rows, context: str) -> None:
    for name in ("final_observation", "reward", "terminated", "truncated"):
        a, b = getattr(one, name)[rows], getattr(two, name)[rows]
        assert torch.equal(a, b), f"{context}: {name} differs"


@pytest.mark.parametrize("task", MARKED)
def test_a_checkpoint_continues_to_the_bit(task, tmp_path):
    card = dataclasses.replace(task_card(task), horizon=12)  # several automatic resets on the way
    rows = noise(card, 40)
    env = started(card, rows[:9])
    write_checkpoint(tmp_path, 1, {"env": env.state_dict()})
    env_now = env.current().observation.clone()
    expected = [env.step(row) for row in rows[9:]]
    twin = make_env(card, B)  # never reset
    twin.load_state_dict(read_newest(tmp_path)[0]["env"])
    assert torch.equal(twin.current().observation, env_now)
    for t, (row, then) in enumerate(zip(rows[9:], expected)):
        now = twin.step(row)
        assert_same(then, now, slice(None), f"step {t}")
        assert torch.equal(then.observation, now.observation)
    used = started(card, rows[:17])  # in the middle of another life
    used.load_state_dict(read_newest(tmp_path)[0]["env"])
    assert_same(expected[0], used.step(rows[9]), slice(None), "a used environment")


@pytest.mark.parametrize("task", MARKED)
def test_a_reset_of_some_touches_only_those(task):
    """Against two runs from the same moment: one in which nothing is reset, one in which everything is.

    Rows that go on must equal the first, rows that start afresh the second, for many steps.
    """
    card = task_card(task)
    if "discovery" in task:  # respawning draws from the stream of the batch, which a reset moves
        card = dataclasses.replace(card, constructor={**card.constructor, "targets_respawn": False})
    rows = noise(card, 45)
    origin = started(card, rows[:14])
    state, ends = origin.state_dict(), torch.tensor([False, True, False, False, True, True])

    def branch(ending: torch.Tensor):
        env = make_env(card, B)
        env.load_state_dict(state)
        env.env.steps[ending] = card.horizon - 1
        return env

    some, none, every = branch(ends), branch(ends & False), branch(ends | True)
    first, nothing, everything = (env.step(rows[14]) for env in (some, none, every))
    fresh = first.terminated | first.truncated
    assert bool((fresh == ends | nothing.terminated).all())
    assert torch.equal(first.final_observation, nothing.final_observation)
    assert torch.equal(first.reward, nothing.reward)
    assert torch.equal(first.observation[fresh], everything.observation[fresh])
    assert torch.equal(first.observation[~fresh], nothing.observation[~fresh])
    compared, same = 0, torch.ones(B, dtype=torch.bool)
    for t, row in enumerate(rows[15:]):
        a, b, c = (env.step(row) for env in (some, none, every))
        assert_same(a, b, same & ~fresh, f"step {t}, going on")
        assert_same(a, c, same & fresh, f"step {t}, started afresh")
        # A further episode is drawn from the stream, which the three have moved differently by now.
        same &= ~(a.terminated | torch.where(fresh, c.terminated, b.terminated))
        expected = torch.where(fresh, t + 1, origin.env.steps + t + 2)
        assert torch.equal(some.env.steps[same], expected[same])
        compared += int(same.sum())
    assert compared >= 40, "too few steps to tell"


def test_the_last_observation_of_an_episode_belongs_to_it():
    card = dataclasses.replace(task_card("vmas/wheel-continuous-v1"), horizon=4)
    rows = noise(card, 4)
    env, longer = started(card, rows[:3]), started(dataclasses.replace(card, horizon=9), rows[:3])
    out, other = env.step(rows[3]), longer.step(rows[3])
    assert bool(out.truncated.all()) and not bool(other.truncated.any())
    assert torch.equal(out.final_observation, other.observation)
    assert torch.equal(out.final_state, other.state)
    assert not torch.equal(out.observation, out.final_observation)


def test_a_step_with_ended_episodes_makes_one_reset_and_one_call_per_reward(monkeypatch):
    card = task_card("vmas/transport-continuous-v1")
    env = started(card)
    resets, rewards = [], []
    kept_reset, kept_reward = env.env.scenario.reset_world_at, env.env.scenario.reward
    monkeypatch.setattr(env.env.scenario, "reset_world_at", lambda i=None: (resets.append(i), kept_reset(i)))
    monkeypatch.setattr(env.env.scenario, "reward", lambda a: (rewards.append(a.name), kept_reward(a))[1])
    env.env.steps[1:5] = card.horizon - 1
    env.step(torch.zeros(B, 4, 2))
    assert resets == [None]
    assert rewards == [f"agent_{i}" for i in range(4)]


# -- the walk itself, on a small world -----------------------------------------------------------------------


class Thing:
    def __init__(self, **values) -> None:
        self.__dict__.update(values)


def world(**values):
    """The least that has the attributes which the walk starts from."""
    return Thing(scenario=Thing(world=Thing(agents=[], landmarks=[]), **values))


MASK = torch.tensor([True, False])


def test_aliases_views_and_strides_survive_a_restore():
    base = torch.arange(4.0)
    old = world(a=base, b=base, view=base[1:3], wide=torch.ones(1, 2).expand(3, 2), turned=torch.ones(2, 3).t())
    new = world(a=1, b=2, view=3, wide=None, turned=None)
    restore(new, capture(old), torch.device("cpu"))
    s = new.scenario
    s.a[1] = 9.0
    assert s.b is s.a and s.view[0] == 9.0
    assert (s.wide.stride(), s.turned.stride()) == ((0, 1), (1, 3))
    assert base[1] == 1.0  # the captured state is not the environment's memory


def test_containers_scalars_and_references_survive_a_restore():
    one, two = Thing(x=1), Thing(x=2)
    old = world(one=one, two=two, order=[two, one], named={"k": one, 3: torch.ones(2)}, pair=(1, torch.zeros(1)),
                size=torch.Size([2, 3]), seen={1, 2}, gone=None, big=float("inf"))  # fmt: skip
    new = world(one=Thing(x=5), two=Thing(x=6, extra=1), order=[], named={}, more=7)
    restore(new, capture(old), torch.device("cpu"))
    s = new.scenario
    assert s.order[0] is s.two and s.order[1] is s.one
    assert (s.one.x, s.two.x) == (1, 2) and not hasattr(s.two, "extra") and not hasattr(s, "more")
    assert s.named["k"] is s.one and s.named[3].tolist() == [1, 1]
    assert s.pair[1].tolist() == [0.0] and type(s.size) is torch.Size
    assert s.seen == {1, 2} and s.big == float("inf")


def test_what_cannot_be_captured_is_refused():
    with pytest.raises(UncapturedState, match=r"scenario: a generator"):
        capture(world(lazy=(i for i in range(3))))


def test_what_cannot_be_made_again_is_refused():
    state = capture(world(lazily=Thing(x=1)))
    with pytest.raises(UncapturedState, match=r"scenario\.lazily: expected an object of class Thing"):
        restore(world(), state, torch.device("cpu"))


def test_a_merge_keeps_views_and_separates_what_a_reset_joined():
    old = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    env = world(shaping=old, first=torch.tensor([[3.0, 3.0], [4.0, 4.0]]), place=old.clone())
    before = Before(env)
    s = env.scenario
    s.shaping = s.first = torch.full((2, 2), 9.0)  # one tensor now
    s.place = torch.full((2, 2), 8.0)
    s.view = s.place[:, 0]
    before.merge(MASK)
    assert s.shaping.tolist() == [[9, 9], [2, 2]]
    assert s.first.tolist() == [[9, 9], [4, 4]]
    assert s.place.tolist() == [[8, 8], [2, 2]]
    assert s.view.tolist() == [8, 2]


def test_a_merge_puts_back_what_was_changed_in_place_and_what_the_batch_shares():
    one, two = Thing(), Thing()
    env = world(one=one, two=two, flags=torch.tensor([True, True]), goal=torch.tensor(3.0), order=[one, two],
                count=4, wide=torch.ones(1).expand(2), late=torch.ones(2, 3), history=[torch.ones(2)])  # fmt: skip
    before = Before(env)
    s = env.scenario
    s.flags[:] = False
    s.goal, s.order[:], s.count = torch.tensor(5.0), [two, one], 0
    s.wide = torch.zeros(1).expand(2)
    s.late, s.new = None, torch.zeros(2)
    s.history.clear()
    before.merge(MASK)
    assert s.flags.tolist() == [False, True]
    assert s.goal.item() == 3.0 and s.order == [one, two] and s.count == 4
    assert s.wide.tolist() == [0.0, 1.0]
    assert s.late.shape == (2, 3) and s.new.tolist() == [0, 0]
    assert len(s.history) == 1
