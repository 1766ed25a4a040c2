"""The loss of a minibatch: a clipped surrogate and a value error per stack, with gradients where edges let them.

With ``gradient: stop`` every input is what was read while acting, a constant. With ``through`` messages and
instructions of such vertices are computed again from what *they* read, and their superiors' or subordinates'
policy losses reach them; critics read what was read while acting.

Axes: **R** replicas, **c** rows of a chunk, **K** vertices of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.networks.modules import Outputs, StackNet

Part = dict[str, Tensor]  # rows of one stack's buffers, each [R, c, ...]; recurrent: c = T * e, step by step
METRICS = ("policy_loss", "value_loss", "entropy", "clip_fraction", "gradient_norm")
SPARSITY = 0.01  # pull on the gates of sparse edges


def is_coupled(net: StackNet) -> bool:
    """Gradients enter or leave this stack over edges."""
    s = net.stack
    message = s.message is not None and (s.vertex.gradient == "through" or s.message.is_recomputed)
    return s.through or message or s.reads.is_recomputed


def clusters(nets: Sequence[StackNet]) -> list[list[StackNet]]:
    """Stacks whose losses are computed together: the coupled ones, and each other one alone."""
    coupled = [net for net in nets if is_coupled(net)]
    alone = [[net] for net in nets if not is_coupled(net) and (net.actor_parameters() or net.critic_parameters())]
    return ([coupled] if coupled else []) + alone


def cluster_loss(
    nets: Sequence[StackNet], parts: dict[int, Part], counts: dict[int, Tensor | int], config: PpoConfig
) -> tuple[Tensor, dict[int, Tensor]]:
    """Loss [R] of a chunk of rows, and per stack the first four metrics [4, R].

    Args:
        nets: a cluster, superiors first.
        parts: rows of every stack that learns or is computed again, by stack number.
        counts: how many rows times vertices the minibatch holds, per stack: sums become means over it.
        config: coefficients.
    """
    again: list[Tensor] = []
    for net in reversed(nets):
        s = net.stack
        if s.message is not None and s.vertex.gradient == "through":
            assert net.message_reads is not None
            x = net.message_reads.renew(parts[s.number]["reported"], again)
            again.append(net.messages(x).flatten(-2))
    total: Tensor | float = 0.0
    metrics: dict[int, Tensor] = {}
    for net in nets:
        s = net.stack
        if s.number not in parts:
            continue
        part, count = parts[s.number], counts[s.number]
        outputs = None
        if s.through or s.learns:
            outputs = (
                net.outputs(net.reads.renew(part["features"], again)) if not net.is_recurrent else _along(net, part)
            )
            if s.through:
                assert outputs[1] is not None
                again.append(net.instruction(outputs[1]).flatten(-2))
        loss, found = _stack_loss(net, part, outputs if s.learns else None, count, config)
        total = total + loss
        metrics[s.number] = found
    assert isinstance(total, Tensor)
    return total, metrics


def _along(net: StackNet, part: Part) -> Outputs:
    """A recurrent policy over whole rollouts, from what it remembered before; the gradient goes back to there."""
    x = part["features"].unflatten(1, (part["begins"].shape[1], -1))
    return net.outputs_along(x, part["hidden"], part["begins"])[0]


def _stack_loss(
    net: StackNet,
    part: Part,
    outputs: Outputs | None,
    count: Tensor | int,
    config: PpoConfig,
) -> tuple[Tensor, Tensor]:
    """One stack's own losses [R]; ``outputs`` is None where it has no policy loss."""
    r = net.replicas
    weight = part.get("weight")
    scale = 1.0 / count
    nothing = part["features"].new_zeros(r)
    policy_loss = value_loss = mean_entropy = moved = nothing
    loss: Tensor | float = 0.0
    if outputs is not None:
        log_p, entropy = net.stats(outputs, part.get("env"), part.get("own"), part.get("mask"))
        ratio = torch.exp(log_p - part["log_p"])
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        surrogate = torch.minimum(ratio * part["advantage"], clipped * part["advantage"])
        if weight is not None:
            surrogate, entropy = torch.where(weight > 0, surrogate, 0.0), entropy * weight
        if "alive" in part:
            surrogate, entropy = surrogate * part["alive"], entropy * part["alive"]
        policy_loss = -surrogate.sum(dim=(1, 2)) * scale
        mean_entropy = entropy.sum(dim=(1, 2)) * scale
        loss = policy_loss
        with torch.no_grad():
            far = ((ratio - 1).abs() > config.clip).to(ratio.dtype)
            moved = (far if weight is None else far * weight).sum(dim=(1, 2)) * scale
    if net.critic is not None:
        x = part["features" if net.critic_reads is None else "critic"]
        if net.is_recurrent:
            steps = part["begins"].shape[1]
            value = net.values_along(x.unflatten(1, (steps, -1)), part["recalled"], part["begins"])[0].flatten(1, 2)
        else:
            value = net.values(x)
        error = (value - part["returns"]).square()
        value_loss = _half_mean(error, weight, count)
        loss = loss + config.value_weight * value_loss
    if net.readout is not None and net.message is not None:
        # With `stop` a message learns at home: to tell what its vertex can expect.
        told = net.apply(net.readout, net.messages(part["reported"])).squeeze(-1)
        loss = loss + config.value_weight * _half_mean((told - part["returns"]).square(), weight, count)
    if outputs is not None:
        loss = loss - config.entropy_weight * mean_entropy
    if net.stack.sparse:
        rows = part["features"].shape[1] * net.stack.size_k
        loss = loss + SPARSITY * net.edge_weights().mean(dim=(1, 2)) * rows * scale
    found = torch.stack((policy_loss, value_loss, mean_entropy, moved)).detach()
    return (loss if isinstance(loss, Tensor) else nothing), found


def _half_mean(error: Tensor, weight: Tensor | None, count: Tensor | int) -> Tensor:
    if weight is not None:
        error = torch.where(weight > 0, error, 0.0)
    return 0.5 * error.sum(dim=(1, 2)) / count
