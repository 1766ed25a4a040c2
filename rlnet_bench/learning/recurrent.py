"""Networks with memory: an MLP, a gated recurrent unit, a linear readout; M copies side by side.

The unit is that of Cho et al. 2014 ("Learning Phrase Representations using RNN Encoder-Decoder", eqs. 5 to 8) with the
reset gate behind the recurrent product, as torch computes it.

Axes: **M** copies, **T** steps, **n** rows per copy, **F** features, **H** numbers that are remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.learning.stacked import ACTIVATIONS, StackedMLP, _orthogonal

HEAD, CELL = 1 << 8, 1 << 9  # counters of initialisation keys beside the layers' own


class Recurrent:
    """M recurrent networks; what they remember goes in and comes out."""

    def __init__(
        self,
        sizes: Sequence[int],
        keys: Sequence[int],
        *,
        activation: str = "tanh",
        output_gain: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Orthogonal weights (gain sqrt(2), in the unit 1, readout ``output_gain``), zero biases.

        Args:
            sizes: widths: input, hidden layers (at least one; the unit is as wide as the last), output.
            keys: one initialisation key per copy.
            activation: of the hidden layers.
            output_gain: scale of the readout.
            device: where the parameters live.
        """
        *trunk, outputs = sizes
        self.width, self.activation = trunk[-1], ACTIVATIONS[activation]
        self.trunk = StackedMLP(trunk, keys, activation=activation, output_gain=2**0.5, device=device)
        heads = [rng.fold_int(key, HEAD) for key in keys]
        self.head = StackedMLP((self.width, outputs), heads, output_gain=output_gain, device=device)

        def gates(side: int) -> Tensor:
            rows = [
                [_orthogonal(self.width, self.width, 1.0, key, CELL + 3 * side + g) for g in range(3)] for key in keys
            ]
            return torch.stack([torch.cat(row, dim=1) for row in rows]).to(device).requires_grad_()

        self.read, self.recall = gates(0), gates(1)  # [M, H, 3 H]: reset, update, candidate
        self.read_bias, self.recall_bias = (
            torch.zeros(len(keys), 1, 3 * self.width, device=device).requires_grad_() for _ in range(2)
        )

    def __call__(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """T steps.

        Args:
            x: [M, T, n, F].
            h: [M, n, H], what is remembered before the first step.
            begins: [M, T, n, 1] bool, an episode begins with this step: what was remembered is forgotten.

        Returns:
            (outputs [M, T, n, out], what is remembered after every step [M, T, n, H]).
        """
        m, steps, n, _ = x.shape
        seen = self.activation(self.trunk(x.reshape(m, steps * n, -1)))
        given = torch.baddbmm(self.read_bias, seen, self.read).view(m, steps, n, -1)
        after = []
        for t in range(steps):
            if begins is not None:
                h = torch.where(begins[:, t], 0.0, h)
            past = torch.baddbmm(self.recall_bias, h, self.recall)
            (reset, update, new), (r, z, c) = given[:, t].chunk(3, dim=-1), past.chunk(3, dim=-1)
            update = torch.sigmoid(update + z)
            h = (1 - update) * torch.tanh(new + torch.sigmoid(reset + r) * c) + update * h
            after.append(h)
        states = torch.stack(after, dim=1)
        return self.head(states.view(m, steps * n, -1)).view(m, steps, n, -1), states

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name, each [M, ...]."""
        yield from self.trunk.named_parameters()
        for name, p in self.head.named_parameters():
            yield f"head.{name}", p
        for name in ("read", "read_bias", "recall", "recall_bias"):
            yield f"gru.{name}", getattr(self, name)
