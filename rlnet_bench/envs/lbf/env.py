"""The level-based foraging family in batched torch, faithful to lbforaging 2.0.0.

A step is one pure function of tensors: play, draw the next episode's field for everyone, take it where
the episode ended. Drawing it for everyone costs less than finding out, on the device, for whom; and it
keeps the step free of branches, copies to the host and shapes that depend on values.

Parts: :mod:`~rlnet_bench.envs.lbf.field` (layout), :mod:`~rlnet_bench.envs.lbf.rules` (dynamics),
:mod:`~rlnet_bench.envs.lbf.spawn` (resets), :mod:`~rlnet_bench.envs.lbf.observation`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.compiling import compiled
from rlnet_bench.envs.contract import Reset, Scene, Shape, Transition, VectorEnv
from rlnet_bench.envs.lbf.field import LOW_BITS, Field, decode, rules, total
from rlnet_bench.envs.lbf.observation import Observer
from rlnet_bench.envs.lbf.rules import is_empty, legal_actions, play
from rlnet_bench.envs.lbf.spawn import Spawner

_GRID_COLOUR, _FOOD_COLOUR, _TEXT_COLOUR = (200, 200, 200), (196, 57, 43), (255, 255, 255)
_PLAYER_COLOURS = ((38, 84, 160), (26, 122, 94), (122, 66, 150), (150, 96, 22))


def make(card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> LbfEnv:
    """Build ``num_envs`` environments of an LBF task.

    Args:
        card: from :mod:`rlnet_bench.envs.cards.lbf`.
        num_envs: B.
        device: torch device.
        compile: run the step through ``torch.compile``; refused where that does not work. All but one
            division is integer arithmetic, so results do not depend on it.
    """
    return LbfEnv(card, num_envs, device, compile)


class _Outcome(NamedTuple):
    """Everything that one step computes."""

    field: Field  # after auto-reset
    observation: Tensor
    final_observation: Tensor
    reward: Tensor  # [B, P] float32
    terminated: Tensor
    truncated: Tensor
    success: Tensor
    mask: Tensor | None
    final_mask: Tensor | None


class LbfEnv(VectorEnv):
    """A batch of LBF environments. ``field`` is the whole state (see :class:`Field`) but the seeds."""

    def __init__(self, card: TaskCard, num_envs: int, device: str = "cpu", compile: bool = False) -> None:
        self.card, self.num_envs, self.device = card, num_envs, torch.device(device)
        self.rules = rules(card)
        self.spawner = Spawner(self.rules, self.device)
        self.observer = Observer(self.rules, self.device)
        self.keys = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._field: Field | None = None
        self._advance = compiled(self._pure_step) if compile else self._pure_step

    # -- contract ------------------------------------------------------------------------------------

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 with one int64 seed per environment [B]."""
        if seeds.shape != (self.num_envs,):
            raise ValueError(f"seeds: expected shape ({self.num_envs},), found {tuple(seeds.shape)}")
        self.keys = seeds.to(self.device, torch.int64).clone()
        self._field = self.spawner.draw(self.keys, torch.zeros_like(self.keys))
        return self.current()

    def current(self) -> Reset:
        """What a policy sees now."""
        observation = self.observer(self.field)
        return Reset(observation, observation.flatten(1), self._mask(self.field), None)

    def step(self, actions: Tensor) -> Transition:
        """One step; actions int64 [B, P], illegal ones do nothing."""
        # Batch-last before the compiled function: fused into it, strided loads would slow all of it down.
        chosen = actions.to(torch.int32).t().contiguous()
        o = self._advance(self.field, self.keys, chosen)
        if self.at_end is not None and bool((o.terminated | o.truncated).any()):
            self._field = play(self.rules, self.field, chosen)[0]  # once more, without the reset
            self.at_end()
        self._field = o.field
        return Transition(
            o.observation,
            o.observation.flatten(1),
            o.reward,
            o.terminated,
            o.truncated,
            o.terminated[:, None].expand(-1, self.rules.players),
            o.mask,
            None,
            o.final_observation,
            o.final_observation.flatten(1),
            o.final_mask,
            None,
            o.success,
        )

    def state_dict(self) -> dict[str, Any]:
        """The field and the seeds."""
        return {"keys": self.keys.clone(), **{k: v.clone() for k, v in self.field._asdict().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        moved = {k: v.to(self.device, copy=True) for k, v in state.items()}
        self.keys = moved.pop("keys")
        self._field = Field(**moved)

    def scene(self, index: int) -> Scene:
        """The board of one environment: row 0 at the top, numbers are levels."""
        field = Field(*(x[..., index].cpu() for x in self.field))
        height, width = self.rules.rows, self.rules.columns
        shapes = [Shape("line", width / 2, float(y), float(width), 0.0, _GRID_COLOUR) for y in range(height + 1)]
        shapes += [
            Shape("line", float(x), height / 2, float(height), torch.pi / 2, _GRID_COLOUR) for x in range(width + 1)
        ]

        def token(kind: Any, row: int, column: int, level: int, colour: tuple[int, int, int]) -> None:
            x, y = column + 0.5, height - row - 0.5
            size, extra = (0.7, 0.7) if kind == "rectangle" else (0.38, None)
            shapes.append(Shape(kind, x, y, size, 0.0, colour, extra))
            shapes.append(Shape("text", x, y, 0.45, 0.0, _TEXT_COLOUR, str(level)))

        for row, column, level in zip(*(x.tolist() for x in decode(field.food))):
            if level:
                token("rectangle", row, column, level, _FOOD_COLOUR)
        for i, (row, column, level) in enumerate(zip(field.row.tolist(), field.column.tolist(), field.level.tolist())):
            token("circle", row, column, level, _PLAYER_COLOURS[i % len(_PLAYER_COLOURS)])
        caption = f"step {int(field.time)} of {self.rules.horizon}"
        return Scene((0.0, 0.0, float(width), float(height)), tuple(shapes), caption)

    # -- inside --------------------------------------------------------------------------------------

    @property
    def field(self) -> Field:
        """The state of the batch; raises before the first reset."""
        if self._field is None:
            raise RuntimeError(f"{self.card.id}: call reset(seeds) before stepping or looking")
        return self._field

    def _mask(self, field: Field) -> Tensor | None:
        return legal_actions(self.rules, field) if self.rules.masked else None

    def _pure_step(self, field: Field, keys: Tensor, actions: Tensor) -> _Outcome:
        after, reward = play(self.rules, field, actions)
        terminated = is_empty(after)
        truncated = (after.time >= self.rules.horizon) & ~terminated
        left = total([code & LOW_BITS for code in after.food])
        # Share of the food level eaten; a field that never had food counts as none eaten.
        success = (field.spawned - left).double() / field.spawned.clamp(min=1).double()

        ended = terminated | truncated
        fresh = self.spawner.draw(keys, field.episode + 1)
        then = Field(*(torch.where(ended, new, old) for new, old in zip(fresh, after)))
        return _Outcome(
            then,
            self.observer(then),
            self.observer(after),
            reward.t().contiguous(),
            terminated,
            truncated,
            success.float(),
            self._mask(then),
            self._mask(after),
        )
