"""The loss of a minibatch: a clipped surrogate and a value error per stack, with gradients where edges let them.

With ``gradient: stop`` every input is what was read while acting, a constant. With ``through`` messages and
instructions of such vertices are computed again from what *they* read, and their superiors' or subordinates'
policy losses reach them; critics read what was read while acting.

Axes: **R** replicas, **c** rows of a chunk, **K** vertices of a stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped
from rlnet_bench.networks.modules import Outputs, StackNet

SPARSITY = 0.01  # pull on the gates of sparse edges


def is_coupled(net: StackNet) -> bool:
    """Gradients enter or leave this stack over edges."""
    s = net.stack
    message = s.message is not None and (s.vertex.gradient == "through" or s.message.is_recomputed)
    return s.through or message or s.reads.is_recomputed


def clusters(nets: Sequence[StackNet]) -> list[list[StackNet]]:
    """Stacks whose losses are computed together: the coupled ones, and each other one alone."""
    coupled = [net for net in nets if is_coupled(net)]
    alone = [[net] for net in nets if not is_coupled(net) and net.is_trained]
    return ([coupled] if coupled else []) + alone


def cluster_loss(
    nets: Sequence[StackNet], batches: Mapping[int, Batch], config: PpoConfig
) -> tuple[dict[int, Loss], dict[int, Tensor]]:
    """(losses of a chunk of rows, how far policies with a limit have moved [R]), by stack number.

    Args:
        nets: a cluster, superiors first.
        batches: rows of every stack that learns or is computed again, by stack number.
        config: coefficients.
    """
    again: list[Tensor] = []
    for net in reversed(nets):
        s = net.stack
        if s.message is not None and s.vertex.gradient == "through":
            assert net.message_reads is not None
            x = net.message_reads.renew(batches[s.number]["reported"], again)
            again.append(net.messages(x).flatten(-2))
    found: dict[int, Loss] = {}
    moved: dict[int, Tensor] = {}
    for net in nets:
        s = net.stack
        if s.number not in batches:
            continue
        batch, outputs = batches[s.number], None
        if s.through or s.learns:
            outputs = _outputs(net, batch, again)
            if s.through:
                assert outputs[1] is not None
                again.append(net.instruction(outputs[1], batch.get("noise")).flatten(-2))
        found[s.number] = _stack_loss(net, batch, outputs if s.learns else None, config, moved)
    return found, moved


def _outputs(net: StackNet, batch: Batch, again: Sequence[Tensor]) -> Outputs:
    """What a policy says; a recurrent one over whole rollouts, with the gradient going back to their beginnings."""
    if not net.is_recurrent:
        return net.outputs(net.reads.renew(batch["features"], again))
    x = batch["features"].unflatten(1, (batch["begins"].shape[1], -1))
    return net.outputs_along(x, batch["memory"], batch["begins"])[0]


def _values(net: StackNet, batch: Batch) -> Tensor:
    x = batch["features" if net.critic_reads is None else "critic"]
    if not net.is_recurrent:
        return net.values(x)
    x = x.unflatten(1, (batch["begins"].shape[1], -1))
    return net.values_along(x, batch["recalled"], batch["begins"])[0].flatten(1, 2)


def divergence(log_ratio: Tensor) -> Tensor:
    """r - 1 - log r of r = new / old: never negative, and on the mean KL(old, new), as that of r - 1 is 0."""
    return torch.expm1(log_ratio) - log_ratio


def _stack_loss(
    net: StackNet, batch: Batch, outputs: Outputs | None, config: PpoConfig, divergences: dict[int, Tensor]
) -> Loss:
    """One stack's own losses, as IPPO's; ``outputs`` is None where it has no policy loss."""
    policy = value = bonus = moved = total = batch["features"].new_zeros(net.replicas)
    if outputs is not None:
        log_p, entropy = net.stats(outputs, batch.get("env"), batch.get("own"), batch.get("mask"))
        ratio = torch.exp(log_p - batch["log_p"])
        total = policy = -batch.acting_mean(clipped_surrogate(ratio, batch["advantage"], net.recipe.clip))
        bonus, moved = batch.acting_mean(entropy), batch.mean(is_clipped(ratio, net.recipe.clip))
        if net.recipe.target_kl is not None:
            divergences[net.stack.number] = batch.acting_mean(divergence((log_p - batch["log_p"]).detach()))
    if net.critic is not None:
        value = batch.mean(half_squared_error(_values(net, batch), batch["returns"]))
        total = total + config.value_weight * value
    if net.readout is not None:
        # With `stop` a message learns at home: to tell what its vertex can expect.
        told = net.readout(net.messages(batch["reported"])).squeeze(-1)
        total = total + config.value_weight * batch.mean(half_squared_error(told, batch["returns"]))
    if outputs is not None:
        total = total - net.recipe.entropy * bonus
    if net.stack.sparse:
        share = batch["features"].shape[1] / batch.steps
        total = total + SPARSITY * net.edge_weights().mean(dim=(1, 2)) * share
    return Loss(total, policy, value, bonus, moved)
