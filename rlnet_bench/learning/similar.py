"""Targets that average over joint actions around the greedy one, by how alike their effects are (QSIM, 2602.22786).

The largest of many noisy values is overestimated. Joint actions in which one agent does something else than the greedy
one does say what the neighbourhood is worth; those that do nearly the same weigh most.

Axes: **R** replicas, **M** rows, **N** agents, **O** observation width, **A** actions, **E** numbers of an effect.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.distributions import mask_logits
from rlnet_bench.learning.stacked import Parts, StackedMLP, copy_keys

EFFECTS = 1 << 5  # network numbers, for initialisation keys
WIDTH, HIDDEN, SHARPNESS = 128, 64, 3.0  # E, of the networks; the factor of cosines in weights


def neighbours(best: Tensor, options: Tensor) -> Tensor:
    """Utilities [..., N * A, N] of joint actions in which one agent chooses anew: row i * A + a is agent i's option a.

    Args:
        best: [..., N], utilities of the greedy joint action.
        options: [..., N, A], those of every option.
    """
    own = torch.eye(best.shape[-1], dtype=torch.bool, device=best.device)[:, None]  # [N, 1, N]
    return torch.where(own, options[..., None], best[..., None, None, :]).flatten(-3, -2)


def similarity_mean(value: Tensor, cosine: Tensor, legal: Tensor | None = None) -> Tensor:
    """sum w value / sum w over the last axis, w = exp(3 max(cosine, 0)): [..., 1].

    Args:
        value: [..., K], of joint actions around the greedy one.
        cosine: [..., K], of their effects with its own.
        legal: [..., K] bool; others have no weight.
    """
    weight = torch.softmax(mask_logits(SHARPNESS * cosine.clamp(min=0.0), legal), dim=-1)
    return (weight * value).sum(dim=-1, keepdim=True)


class Effects(Parts):
    """e(i, a): what option a of agent i does, in numbers from which the change of its observation is told."""

    def __init__(self, card: TaskCard, seeds: Sequence[int], device: str | torch.device = "cpu") -> None:
        n, a, o = card.num_agents, card.action_size, card.observation_size
        self.shape = n, a

        def network(number: int, *sizes: int) -> StackedMLP:
            return StackedMLP(sizes, copy_keys(seeds, 1, EFFECTS + number), activation="relu", device=device)

        self.parts = {"encoder": network(0, n + a, HIDDEN, WIDTH), "decoder": network(1, o + n + WIDTH, HIDDEN, o)}
        self.ids = torch.eye(n, device=device)
        self.every = torch.cat(  # who and what, [N * A, N + A]
            (self.ids.repeat_interleave(a, dim=0), torch.eye(a, device=device).repeat(n, 1)), dim=-1
        )

    def __call__(self) -> Tensor:
        """All of them, [R, N, A, E]."""
        encoder = self.parts["encoder"]
        replicas = len(next(encoder.parameters()))
        return encoder(self.every.expand(replicas, -1, -1)).unflatten(1, self.shape)

    def cosines(self, greedy: Tensor) -> Tensor:
        """How alike every option of every agent is to its greedy one, int64 [R, M, N]: [R, M, N, A]."""
        effect = self()
        each = cosine_similarity(effect[..., None, :], effect[..., None, :, :], dim=-1)  # [R, N, A, A]
        place = greedy.transpose(1, 2)[..., None].expand(-1, -1, -1, self.shape[1])
        return each.gather(2, place).transpose(1, 2)

    def errors(self, observation: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """Squared errors [R, M, N] of the told changes.

        Args:
            observation: [R, M, N, O].
            action: int64 [R, M, N].
            after: the next observation [R, M, N, O].
        """
        r, m, n, _ = observation.shape
        effect = self()[
            torch.arange(r, device=action.device)[:, None, None], torch.arange(n, device=action.device), action
        ]
        read = torch.cat((observation, self.ids.expand(r, m, n, n), effect), dim=-1)
        told = self.parts["decoder"](read.flatten(1, 2)).view(observation.shape)
        return (told - (after - observation)).square().mean(dim=-1)
