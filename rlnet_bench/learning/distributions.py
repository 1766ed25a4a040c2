"""Action distributions as functions of network outputs, for discrete and continuous tasks.

Sampling takes its uniform draws as an argument: where they come from is the caller's affair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ILLEGAL = -1e9  # finite, so that a masked logit never makes a NaN gradient
_LOG_2PI = math.log(2.0 * math.pi)


def mask_logits(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Logits with illegal options pushed to zero probability; ``mask`` is bool, True = legal."""
    return logits if mask is None else torch.where(mask, logits, ILLEGAL)


def categorical_sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sampling: logits [..., A] and draws [...] in (0, 1) -> int64 [...].

    The last legal option absorbs rounding of the cumulative sum; NaN logits give option 0.
    """
    cdf = torch.softmax(_options_first(logits), dim=0).cumsum(dim=0)
    return (cdf[:-1] < uniform * cdf[-1]).sum(dim=0)


def categorical_stats(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """(log probability of ``action``, entropy), both [...]."""
    log_p = torch.log_softmax(_options_first(logits), dim=0)
    entropy = -(log_p.exp() * log_p).sum(dim=0)
    return log_p.gather(0, action[None]).squeeze(0), entropy


def categorical_means(logits: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """(E[value], E[log probability]) under a policy [..., A] over the values [..., A] of its options, both [...]."""
    log_p, value = torch.log_softmax(_options_first(logits), dim=0), _options_first(value)
    p = log_p.exp()
    return (p * value).sum(dim=0), (p * log_p).sum(dim=0)


def _options_first(logits: Tensor) -> Tensor:
    """[..., A] -> [A, ...]: torch's softmax over a short last axis is 15 times slower on CPU than over the first."""
    return logits.movedim(-1, 0)


def gaussian_stats(mean: Tensor, log_std: Tensor, u: Tensor, used: Tensor | None) -> tuple[Tensor, Tensor]:
    """(log density, entropy) of a diagonal Gaussian at ``u`` [..., A], summed over the ``used`` axes.

    ``u`` is the action before squashing. The squashing's Jacobian is the same under every policy, so it
    cancels in probability ratios; the entropy is that of the Gaussian (an upper bound up to a constant).
    """
    z = (u - mean) * torch.exp(-log_std)
    density = -0.5 * (z * z + _LOG_2PI) - log_std
    entropy = (0.5 + 0.5 * _LOG_2PI) + log_std.expand_as(mean)
    if used is not None:
        density, entropy = density * used, entropy * used
    return density.sum(dim=-1), entropy.sum(dim=-1)


def squash(u: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Map real numbers to the task's own units: low + (high - low) * (tanh(u) + 1) / 2."""
    return stretch(torch.tanh(u), low, high)


def stretch(unit: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Map -1..1 to the task's own units, linearly."""
    return low + (high - low) * 0.5 * (unit + 1.0)


def squashed_log_density(mean: Tensor, log_std: Tensor, u: Tensor, used: Tensor | None) -> Tensor:
    """Log density of tanh(u) on -1..1, u [..., A] being Gaussian, summed over the ``used`` axes: [...].

    log N(u) - log(1 - tanh(u)^2), whose last term is 2 (log 2 - u - softplus(-2 u)) without cancellation.
    """
    z = (u - mean) * torch.exp(-log_std)
    jacobian = 2.0 * (math.log(2.0) - u - torch.nn.functional.softplus(-2.0 * u))
    density = -0.5 * (z * z + _LOG_2PI) - log_std - jacobian
    return (density if used is None else density * used).sum(dim=-1)
