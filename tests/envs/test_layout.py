"""What is declared of observations is true: exchanging entities in the world exchanges exactly their slots."""

from __future__ import annotations

import pytest
import torch
import yaml

from rlnet_bench.envs.layout import Layout, layout_of
from rlnet_bench.envs.registry import make_env, resized, task_card, task_ids
from rlnet_bench.errors import BadInput

B = 7
SPREAD = ("mpe/simple_spread-discrete-v1", "mpe/simple_spread-n5-continuous-v1")
WHOLE = ("lbf/8x8-2p-2f-coop-v1", "lbf/15x15-4p-5f-v1")
SIGHTED = ("lbf/2s-10x10-3p-3f-v1", "lbf/2s-8x8-4p-3f-clean-v1")
VMAS = tuple(t for t in task_ids() if t.startswith("vmas/") and t.endswith("discrete-v1") and layout_of(task_card(t)))


def kind(layout: Layout, name: str):
    return next(k for k in layout.kinds if k.name == name)


def exchanged(layout: Layout, name: str, a: int, b: int) -> list[int]:
    """The places of an observation after entities a and b of a kind have changed places."""
    places = list(range(layout.width))
    for i, j in zip(kind(layout, name).slots[a], kind(layout, name).slots[b]):
        places[i], places[j] = j, i
    return places


def started(task: str, steps: int = 4):
    env = make_env(task, B)
    env.reset(torch.arange(B))
    draw = torch.Generator().manual_seed(0)
    card = env.card
    for _ in range(steps):
        if card.action_kind == "discrete":
            action = torch.randint(card.action_size, (B, card.num_agents), generator=draw)
        else:
            action = torch.rand(B, card.num_agents, card.action_size, generator=draw)
        env.step(action)
    return env


def seen(env, **changes) -> torch.Tensor:
    """What a copy of the environment shows with some of its state replaced."""
    other, state = make_env(env.card, B), env.state_dict()
    part = state.get("world", state)
    assert set(changes) <= set(part)
    part.update(changes)
    other.load_state_dict(state)
    return other.current().observation


def swapped(x: torch.Tensor, a: int, b: int) -> torch.Tensor:
    order = list(range(len(x)))
    order[a], order[b] = b, a
    return x[order]


@pytest.mark.parametrize("task", task_ids())
def test_every_number_of_an_observation_belongs_to_one_entity(task):
    card = task_card(task)
    layout = layout_of(card)
    if layout is None:
        return
    places = [*layout.own, *(i for k in layout.kinds for row in k.slots for i in row)]
    assert sorted(places) == list(range(card.observation_size))
    assert all(len(row) == k.width for k in layout.kinds for row in k.slots)


@pytest.mark.parametrize("task", SPREAD)
def test_landmarks_and_other_agents_of_spread(task):
    env, layout = started(task), layout_of(task_card(task))
    before, world = seen(env), env.state_dict()["world"]
    after = seen(env, landmark=swapped(world["landmark"], 0, 2))
    assert torch.equal(after, before[..., exchanged(layout, "landmark", 0, 2)])
    assert not torch.equal(after, before)
    both = {name: swapped(world[name], 1, 2) for name in ("position", "velocity")}
    after = seen(env, **both)  # agents 1 and 2 are others 0 and 1 of agent 0
    assert torch.equal(after[:, 0], before[:, 0][..., exchanged(layout, "other", 0, 1)])
    assert torch.equal(after[:, 2][..., list(layout.own)], before[:, 1][..., list(layout.own)])
    assert not torch.equal(after[:, 0], before[:, 0])


@pytest.mark.parametrize("task", WHOLE)
def test_food_and_other_players_of_a_whole_field(task):
    env, layout = started(task, 0), layout_of(task_card(task))
    before, field = seen(env), env.state_dict()
    after = seen(env, food=swapped(field["food"], 0, 1))
    assert torch.equal(after, before[..., exchanged(layout, "food", 0, 1)])
    assert not torch.equal(after, before)
    if env.card.num_agents > 2:
        after = seen(env, **{name: swapped(field[name], 1, 3) for name in ("row", "column", "level")})
        assert torch.equal(after[:, 0], before[:, 0][..., exchanged(layout, "other", 0, 2)])
    moved = seen(env, level=field["level"] + 1)
    changed = (moved != before).any(dim=0)
    assert [int(i) for i in changed[0].nonzero()] == [
        i for i in range(layout.width) if i in (layout.own[2], *(row[2] for row in kind(layout, "other").slots))
    ]


@pytest.mark.parametrize("task", SIGHTED)
def test_of_what_is_out_of_sight_the_slots_are_absent(task):
    env, layout = started(task), layout_of(task_card(task))
    observation, field = env.current().observation, env.field
    foods = kind(layout, "food")
    rows = observation[:, 0][:, [list(s) for s in foods.slots]]  # [B, F, 3]
    there = (rows != torch.tensor(foods.absent)).any(dim=-1).sum(dim=1)
    row, column = (field.food >> 16) - 1, ((field.food >> 8) & 255) - 1
    near = ((row - field.row[0]).abs() <= 2) & ((column - field.column[0]).abs() <= 2) & (field.food < 1 << 30)
    assert torch.equal(there, near.sum(dim=0))
    assert 0 < int(there.sum()) < B * len(foods.slots)
    before, plain = seen(env), env.state_dict()
    after = seen(env, **{name: swapped(plain[name], 1, 2) for name in ("row", "column", "level")})
    slots = [list(s) for s in kind(layout, "other").slots]
    assert torch.equal(after[:, 0][:, slots].sort(dim=1).values, before[:, 0][:, slots].sort(dim=1).values)
    own = [*layout.own, *(i for s in foods.slots for i in s)]
    assert torch.equal(after[:, 0][:, own], before[:, 0][:, own])


@pytest.mark.parametrize("task", VMAS)
def test_vmas_agents_do_not_tell_others_apart_and_entities_have_slots(task):
    pytest.importorskip("vmas")
    env, layout = started(task), layout_of(task_card(task))
    scenario, world = env.env.scenario, env.env.world

    def look() -> torch.Tensor:
        return scenario.observation(world.agents[0]).clone()

    def exchange(a, b) -> None:
        for name in ("pos", "vel", "rot"):
            x, y = getattr(a.state, name).clone(), getattr(b.state, name).clone()
            setattr(a.state, name, y)
            setattr(b.state, name, x)

    before = look()
    assert before.shape[-1] == layout.width
    exchange(world.agents[1], world.agents[2])
    torch.testing.assert_close(look(), before)
    for entity in layout.kinds:
        found = world.landmarks if entity.name == "food" else scenario.packages
        assert len(entity.slots) == len(found)
        if len(found) > 1:
            found[0].eaten[:] = True  # one number more that belongs to it
            marked = look()
            found[0].eaten, found[1].eaten = found[1].eaten.clone(), found[0].eaten.clone()
            exchange(found[0], found[1])
            assert torch.equal(look(), marked[..., exchanged(layout, entity.name, 0, 1)])


@pytest.mark.parametrize("task", ["mpe/simple_reference-discrete-v1", "lbf/1s-8x8-3p-6f-grid-v1",
                                  "vmas/give_way-discrete-v1"])  # fmt: skip
def test_nothing_is_declared_where_entities_have_no_slots_of_their_own(task):
    assert layout_of(task_card(task)) is None


def test_declarations_are_no_part_of_a_task(monkeypatch):
    card = task_card("mpe/simple_spread-discrete-v1")
    before = card.hash()
    monkeypatch.setattr("rlnet_bench.envs.layout._declared", lambda: yaml.safe_load("{}"))
    assert layout_of(card) is None and card.hash() == before


@pytest.mark.parametrize(
    ("task", "agents", "expected"),
    [
        ("mpe/simple_spread-discrete-v1", 6, "mpe/simple_spread-n6-discrete-v1"),
        ("mpe/simple_spread-n4-continuous-v1", 3, "mpe/simple_spread-continuous-v1"),
        ("lbf/2s-8x8-2p-2f-coop-v1", 4, "lbf/2s-8x8-4p-2f-coop-v1"),
        ("vmas/balance-continuous-v1", 5, "vmas/balance-n5-continuous-v1"),
        ("vmas/navigation-shared-n5-discrete-v1", 3, "vmas/navigation-shared-discrete-v1"),
    ],
)
def test_the_same_task_with_another_number_of_agents(task, agents, expected):
    card = resized(task_card(task), agents)
    assert (card.id, card.num_agents) == (expected, agents)
    assert resized(card, task_card(task).num_agents) == task_card(task)
    layout, other = layout_of(task_card(task)), layout_of(card)
    assert other.width == card.observation_size and len(other.own) == len(layout.own)
    assert [(k.name, k.width) for k in other.kinds] == [(k.name, k.width) for k in layout.kinds]


@pytest.mark.parametrize(
    ("task", "agents", "sentence"),
    [
        ("mpe/simple_reference-discrete-v1", 3, "its agents have roles"),
        ("vmas/give_way-continuous-v1", 3, "cannot be changed"),
        ("lbf/8x8-2p-2f-coop-v1", 17, "there are 1 to 16 players, found 17"),
        ("vmas/balance-continuous-v1", 17, "expected 2 to 16 agents, found 17"),
        ("mpe/simple_spread-discrete-v1", 65, "takes 2 to 64 agents"),
    ],
)
def test_tasks_without_this_size_are_refused(task, agents, sentence):
    with pytest.raises(BadInput, match=sentence):
        resized(task_card(task), agents)


@pytest.mark.parametrize("task", ["vmas/balance-n4-continuous-v1", "vmas/give_way-n2-discrete-v1"])
def test_a_vmas_size_that_is_no_id_of_its_own_is_refused(task):
    with pytest.raises(BadInput):
        task_card(task)


def test_a_vmas_task_of_another_size_plays():
    pytest.importorskip("vmas")
    env = started("vmas/balance-n6-discrete-v1")
    assert env.current().observation.shape == (B, 6, 16)
