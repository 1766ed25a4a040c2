"""The ring: what is written is read, nothing crosses an end or the write head, and draws are counters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scripted import CARD
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Transition
from rlnet_bench.learning.fields import replay_bytes
from rlnet_bench.learning.replay import Replay

H = 5
PLAIN = replace(CARD, horizon=H)
RICH = replace(
    CARD, horizon=H, action_sizes=(3, 2), observation_sizes=(2, 1), state_size=4, state="full", masked=True
)  # fmt: skip


class Story:
    """Environments whose every number says where it is: environment, episode, step; and a plain log of it all."""

    def __init__(self, card: TaskCard, batch: int, seed: int = 0, dying: bool = False) -> None:
        self.card, self.batch, self.dying = card, batch, dying
        self.draw = torch.Generator().manual_seed(seed)
        self.time = torch.zeros(batch, dtype=torch.int64)
        self.clock = torch.zeros(batch)  # unique per (environment, moment)
        self.log: list[dict[str, Any]] = []
        self.now = self._see()

    def _see(self) -> Reset:
        n, o = self.card.num_agents, self.card.observation_size
        where = torch.arange(self.batch) * 1000.0 + self.clock
        sizes = torch.tensor(self.card.observation_sizes)
        observation = where[:, None, None] + 0.1 * torch.arange(n)[:, None] + 0.01 * torch.arange(o)
        observation = observation * (torch.arange(o) < sizes[:, None])
        flat = observation.flatten(1)
        state = where[:, None] + 0.5 + torch.zeros(self.card.state_size)
        if self.card.state == "concat":
            state = flat[:, (torch.arange(o) < sizes[:, None]).flatten()]
        mask = None
        if self.card.masked:
            a = self.card.action_size
            mask = (where[:, None, None].long() + torch.arange(n)[:, None] + torch.arange(a)) % 3 > 0
        alive = (where[:, None].long() + torch.arange(n)) % 4 > 0 if self.dying else None
        self.clock = self.clock + 1
        return Reset(observation, state, mask, alive)

    def step(self, replay: Replay) -> None:
        n = self.card.num_agents
        action = torch.randint(0, 2, (self.batch, n), generator=self.draw)
        due = self.time % replay.period == 0
        replay.begin(self.now, action, due if replay.period > 1 else None)
        self.time += 1
        reward = torch.randn(self.batch, n, generator=self.draw)
        truncated = self.time == self.card.horizon
        terminated = ~truncated & (torch.rand(self.batch, generator=self.draw) < 0.15)
        over = truncated | terminated
        after, final, died = self._see(), None, torch.rand(self.batch, n, generator=self.draw) < 0.2
        if bool(over.any()):
            final, begun = after, self._see()
            mix = [a if a is None else torch.where(over.view(-1, *[1] * (a.ndim - 1)), b, a)
                   for a, b in zip(final, begun)]  # fmt: skip
            after = Reset(*mix)
        self.log.append({
            "now": self.now, "action": action, "reward": reward, "terminated": terminated, "truncated": truncated,
            "died": died, "begins": self.time == 1, "final": final or after, "after": after, "due": due,
        })  # fmt: skip
        self.time[over] = 0
        ends = final or after
        replay.end(Transition(
            after.observation, after.state, reward, terminated, truncated, died, after.action_mask, after.alive_mask,
            ends.observation, ends.state, ends.action_mask, ends.alive_mask, torch.zeros(self.batch),
        ))  # fmt: skip
        self.now = after

    def seen_after(self, t: int, env: int, what: str) -> Tensor:
        row = self.log[t]
        return getattr(row["final" if bool(row["truncated"][env]) else "after"], what)[env]


def told(
    card: TaskCard, steps: int, capacity: int, dying: bool = False, team: bool = True, period: int = 1
) -> tuple[Story, Replay]:
    """Two replicas of three environments."""
    story = Story(card, 6, dying=dying)
    replay = Replay(card, (0, 1), 3, capacity, team=team, state=True, dying=dying, period=period)
    for _ in range(steps):
        story.step(replay)
    return story, replay


def place(replay: Replay, row: Tensor) -> tuple[int, int]:
    """(step, environment) of a row."""
    slot, env = divmod(int(row), replay.width)
    return replay.first + (slot - replay.first) % replay.capacity, env


@pytest.mark.parametrize("card", [PLAIN, RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("steps", [9, 16, 41], ids=["not full", "just full", "wrapped"])
@pytest.mark.parametrize(
    ("n", "team", "period"), [(1, True, 1), (3, True, 1), (3, False, 1), (1, False, 3), (2, True, 3)]
)
def test_transitions_are_what_a_plain_log_says(card: TaskCard, steps: int, n: int, team: bool, period: int) -> None:
    story, replay = told(card, steps, 16, dying=not team, team=team, period=period)
    gamma, length = 0.9, n * period
    _, batch = replay.transitions([6, 7], 200, gamma=gamma, n=n)
    rows = replay.draw([7], 200, length)[0]
    for r in range(2):
        for m in range(200):
            t, env = place(replay, rows[r, m])
            assert env // 3 == r and replay.first <= t < replay.position - length and story.log[t]["due"][env]
            now = story.log[t]["now"]
            assert torch.equal(batch.observation[r, m], now.observation[env])
            assert torch.equal(batch.action[r, m], story.log[t]["action"][env])
            assert batch.state is not None and torch.equal(batch.state[r, m], now.state[env])
            if card.masked:
                assert batch.mask is not None and torch.equal(batch.mask[r, m], now.action_mask[env])
            total, discount = torch.zeros(1 if team else 2), torch.ones(1 if team else 2)
            decisions = 0
            for k in range(length):
                row = story.log[t + k]
                decisions += int(row["due"][env])
                if decisions > n:
                    break
                reward = row["reward"][env]
                total = total + discount * (reward.mean()[None] if team else reward)
                ended = row["terminated"][env] | (torch.zeros(1) > 0 if team else row["died"][env])
                discount = torch.where(ended, 0.0, discount * gamma)
                last = t + k
                if bool(row["terminated"][env] | row["truncated"][env]):
                    break
            torch.testing.assert_close(batch.reward[r, m], total)
            torch.testing.assert_close(batch.discount[r, m], discount)
            if bool((discount > 0).any()):
                assert torch.equal(batch.next_observation[r, m], story.seen_after(last, env, "observation"))
                assert batch.next_state is not None
                assert torch.equal(batch.next_state[r, m], story.seen_after(last, env, "state"))
                if card.masked:
                    assert batch.next_mask is not None
                    assert torch.equal(batch.next_mask[r, m], story.seen_after(last, env, "action_mask"))
                if not team:
                    assert batch.next_alive is not None
                    assert torch.equal(batch.next_alive[r, m], story.seen_after(last, env, "alive_mask"))


@pytest.mark.parametrize("steps", [12, 41], ids=["not full", "wrapped"])
@pytest.mark.parametrize("burn_in", [0, 2])
def test_sequences_stop_at_ends_and_bring_the_final_observation(steps: int, burn_in: int) -> None:
    story, replay = told(RICH, steps, 16)
    length = 4
    batch, rows = replay.sequences(3, 100, length, burn_in=burn_in), replay.draw([3], 100, burn_in + length)[0]
    assert batch.mask is not None and batch.state is not None
    assert len(batch.observation) == len(batch.begins) == burn_in + length + 1 and len(batch.mask) == length + 1
    ends = 0
    for r in range(2):
        for m in range(100):
            start, env = place(replay, rows[r, m])
            for k in range(burn_in):
                row = story.log[start + k]
                assert torch.equal(batch.observation[k, r, m], row["now"].observation[env])
                assert bool(batch.begins[k, r, m]) == (k == 0 or bool(row["begins"][env]))
            going = True
            for k in range(length):
                row = story.log[start + burn_in + k]
                assert bool(batch.within[k, r, m]) == going
                if not going:
                    continue
                assert torch.equal(batch.observation[burn_in + k, r, m], row["now"].observation[env])
                assert torch.equal(batch.state[k, r, m], row["now"].state[env])
                assert torch.equal(batch.action[k, r, m], row["action"][env])
                assert batch.reward[k, r, m].item() == pytest.approx(row["reward"][env].mean().item())
                assert bool(batch.terminated[k, r, m]) == bool(row["terminated"][env])
                first = burn_in + k == 0 or (k == 0 and bool(row["begins"][env]))
                assert bool(batch.begins[burn_in + k, r, m]) == first
                going = not bool(row["terminated"][env] | row["truncated"][env])
                ends += not going
                if not bool(row["terminated"][env]):
                    follows = story.seen_after(start + burn_in + k, env, "observation")
                    assert torch.equal(batch.observation[burn_in + k + 1, r, m], follows)
                    legal = story.seen_after(start + burn_in + k, env, "action_mask")
                    assert torch.equal(batch.mask[k + 1, r, m], legal)
                    assert not bool(batch.begins[burn_in + k + 1, r, m])
    assert ends > 20


def test_decision_intervals_by_hand() -> None:
    """gamma 0.5, period 3, rewards 1, 2, 4, ...; where, when and why each interval ends.

    Environment 0 is cut by the clock at step 4: its second decision holds for 2 steps, and its final observation is
    valued. Environment 1 terminates at step 3: its second decision holds for 1 step, and nothing follows.
    """
    card = replace(CARD, horizon=5)
    replay = Replay(card, (0,), 2, 12, period=3)
    cut, dead = {(4, 0)}, {(3, 1)}
    age, seen = [0, 0], torch.zeros(2, 2, 1)
    for t in range(10):
        now = Reset(seen + t, torch.zeros(2, 4), None, None)
        replay.begin(now, torch.full((2, 2), t), torch.tensor([a % 3 == 0 for a in age]))
        truncated, terminated = (torch.tensor([(t, e) in ends for e in (0, 1)]) for ends in (cut, dead))
        after, none = seen + t + 1, None
        final = torch.full_like(seen, 100.0) if bool(truncated.any()) else after
        replay.end(Transition(
            after, now.state, torch.full((2, 2), 2.0**t), terminated, truncated, terminated[:, None].expand(2, 2), none,
            none, final, now.state, none, none, torch.zeros(2),
        ))  # fmt: skip
        age = [0 if bool(over) else a + 1 for a, over in zip(age, truncated | terminated)]
    batch = replay.transitions([0], 400, gamma=0.5)[0]
    found = {}
    rows = replay.draw([0], 400, 3)[0, 0]
    for m, row in enumerate(rows):
        t, env = place(replay, row)
        after = float(batch.next_observation[0, m, 0, 0]) if batch.discount[0, m] > 0 else None
        found[env, t] = float(batch.reward[0, m]), float(batch.discount[0, m]), after
    assert found == {
        (0, 0): (1 + 2 / 2 + 4 / 4, 1 / 8, 3.0), (0, 3): (8 + 16 / 2, 1 / 4, 100.0),
        (0, 5): (32 + 64 / 2 + 128 / 4, 1 / 8, 8.0),
        (1, 0): (1 + 2 / 2 + 4 / 4, 1 / 8, 3.0), (1, 3): (8.0, 0.0, None),
        (1, 4): (16 + 32 / 2 + 64 / 4, 1 / 8, 7.0),
    }  # fmt: skip
    assert min((rows == row).sum() for row in rows.unique()) > 40  # 67 each
    two = replay.transitions([0], 400, gamma=0.5, n=2)[0]
    rows = replay.draw([0], 400, 6)[0, 0]
    pairs = zip(two.reward[0, :, 0].tolist(), two.discount[0, :, 0].tolist())
    assert {(place(replay, row)[::-1], *pair) for row, pair in zip(rows, pairs)} == {
        ((0, 0), 3 + 16 / 8, 1 / 32), ((0, 3), 16.0, 1 / 4), ((1, 0), 3 + 8 / 8, 0.0), ((1, 3), 8.0, 0.0),
    }  # fmt: skip


def test_draws_are_uniform_and_counted() -> None:
    _, replay = told(PLAIN, 30, 10)
    rows = replay.draw([0], 14_000, 2)[0]
    assert torch.equal(rows, replay.draw([5, 0], 14_000, 2)[1])
    assert not torch.equal(rows, replay.draw([1], 14_000, 2)[0])
    assert torch.equal(rows[:, :50], replay.draw([0], 50, 2)[0])  # a row does not depend on how many there are
    for r in range(2):
        count = ((rows[r] // 6 - replay.first) % 10 * 3 + rows[r] % 6 - 3 * r).bincount(minlength=24)
        assert len(count) == 24 and count.min() > 450 and count.max() < 720  # 583 each, 5 deviations
    alone = Replay(PLAIN, (1,), 3, 10)
    alone.position = 30
    assert [place(alone, x)[0] for x in alone.draw([0], 50, 2)[0, 0]] == [place(replay, x)[0] for x in rows[1, :50]]


def test_too_little_to_draw_from_is_said() -> None:
    _, replay = told(PLAIN, 3, 10)
    replay.draw([0], 4, 2)
    with pytest.raises(ValueError, match="expected more than 3 steps to draw from, found 3"):
        replay.draw([0], 4, 3)
    with pytest.raises(ValueError, match="room for at least 2 steps"):
        Replay(PLAIN, (0,), 1, 1)


@pytest.mark.parametrize(("steps", "later"), [(0, 12), (7, 3), (16, 16), (37, 20)])
def test_a_loaded_ring_goes_on_to_the_bit(steps: int, later: int) -> None:
    story, replay = told(RICH, steps, 16, dying=True, team=False)
    other = Replay(RICH, (0, 1), 3, 16, team=False, state=True, dying=True)
    for _ in range(5):  # whatever was in it
        Story(RICH, 6, seed=9, dying=True).step(other)
    other.load_state_dict(replay.state_dict())
    for _ in range(later):
        before, time, clock, draw = story.now, story.time.clone(), story.clock, story.draw.get_state()
        story.step(replay)
        story.now, story.time, story.clock = before, time, clock
        story.draw.set_state(draw)
        story.log.pop()
        story.step(other)
    for update in range(3):
        a, b = (x.transitions([update], 64, gamma=0.9, n=2)[0] for x in (replay, other))
        c, d = (x.sequences(update, 64, 3, burn_in=2) for x in (replay, other))
        for one, two in ((a, b), (c, d)):
            assert all(
                (v is None and vars(two)[k] is None) or torch.equal(v, vars(two)[k]) for k, v in vars(one).items()
            )


def test_its_size_is_known_before() -> None:
    for card, dying in ((PLAIN, False), (RICH, True)):
        replay = Replay(card, (0, 1), 3, 16, team=not dying, state=True, dying=dying)
        size = sum(room.numel() * room.element_size() for room in replay.room.values())
        assert size == replay_bytes(card, 2, 3, 16, team=not dying, state=True, dying=dying)
