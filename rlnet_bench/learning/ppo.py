"""Proximal policy optimisation for R replicas of a team side by side (Schulman et al. 2017).

One learner serves IPPO and MAPPO; they differ in what the critic reads. Everything random is a function
of (seed, frame), so a checkpoint holds no generator and replica k is the same alone or in a batch.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **F**
features, **S** state width. One *frame* is one environment step of one environment of one replica.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.learning.actor import CRITIC, Actor, ActorSpec, AgentNetwork
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.distributions import categorical_stats, gaussian_stats, mask_logits
from rlnet_bench.learning.learner import Divergence
from rlnet_bench.learning.optimise import (
    clip_gradients,
    finite_replicas,
    load_optimiser_state,
    optimiser_state,
    per_replica,
    zero_replicas,
)
from rlnet_bench.learning.policy import ActorPolicy, action_noise
from rlnet_bench.learning.returns import gae, next_values
from rlnet_bench.learning.value_norm import ValueNorm
from rlnet_bench.vocabulary import TrainingReward

CHUNK_ROWS = 4096  # rows of one forward and backward pass: activations stay in a core's cache


class PpoLearner:
    """Collects T x B frames per replica with the current policy, then makes a few epochs over them."""

    def __init__(
        self,
        env: VectorEnv,
        seeds: Sequence[int],
        config: PpoConfig,
        *,
        critic: Literal["observation", "state"],
        training_reward: TrainingReward,
        total_frames: int,
    ) -> None:
        """Wire up networks, optimiser and buffers; nothing is stepped yet.

        Args:
            env: a fresh flat batch of len(seeds) * config.num_envs environments.
            seeds: one per replica.
            config: see :class:`PpoConfig`.
            critic: ``observation`` (each agent values its own, IPPO) or ``state`` (MAPPO).
            training_reward: ``team_mean`` (one reward for all) or ``individual``.
            total_frames: the budget, for learning-rate annealing.
        """
        self.env, self.config, self.seeds = env, config, tuple(seeds)
        self.training_reward, self.total_frames = training_reward, total_frames
        card, device = env.card, env.device
        r, b, t, n = len(seeds), config.num_envs, config.rollout_steps, card.num_agents
        if env.num_envs != r * b:
            raise ValueError(f"expected an environment batch of {r} x {b}, found {env.num_envs}")
        self.shape = (t, r, b, n)
        spec = ActorSpec.for_task(card, config.hidden, config.activation, config.share_parameters, config.observe)
        self.actor = Actor(spec, seeds, device)
        # A shared critic of a team reward needs one value; otherwise one per agent.
        self.central = critic == "state"
        self.team_reward = training_reward == "team_mean"
        self.values = 1 if self.central and config.share_parameters else n
        outputs = n if self.central and config.share_parameters and not self.team_reward else 1
        width = card.state_size if self.central else spec.features
        self.critic = AgentNetwork(
            (width, *config.critic_hidden, outputs), seeds, self.values, config.share_parameters, CRITIC,
            activation=config.activation, device=device,
        )  # fmt: skip
        self.value_norm = ValueNorm(r, device) if config.normalise_value else None
        self.actor_parameters = list(self.actor.parameters())
        self.critic_parameters = list(self.critic.mlp.parameters())
        self.optimiser = torch.optim.Adam(
            self.actor_parameters + self.critic_parameters, lr=config.learning_rate, eps=1e-5, fused=True
        )
        self.frames = self.updates = 0
        self.action_keys = rng.env_keys(self.seeds, rng.Stream.ACTION, b, str(device))
        self.batch_keys = rng.env_keys(self.seeds, rng.Stream.MINIBATCH, t * b, str(device)).view(r, t * b)
        self.frozen = torch.zeros(r, dtype=torch.bool)
        self.divergences: list[Divergence] = []
        self._allocate()
        self.now = env.reset(rng.env_keys(self.seeds, rng.Stream.TRAINING_ENV, b, str(device)))

    @property
    def frames_per_iteration(self) -> int:
        """Frames that one :meth:`iterate` adds to each replica."""
        return self.config.rollout_steps * self.config.num_envs

    def policy(self) -> ActorPolicy:
        """The policy as it stands (sharing its weights)."""
        return ActorPolicy(self.actor)

    def iterate(self) -> dict[str, Tensor]:
        """One rollout and its updates; returns metrics per replica [R]."""
        self.collect()
        metrics = self.update()
        self.frames += self.frames_per_iteration
        self.updates += 1
        return metrics

    # -- rollout -----------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        t, r, b, n = self.shape
        card, device, spec = self.env.card, self.env.device, self.actor.spec
        like = torch.empty(0, device=device)
        self.features = self.actor.blank((t + 1, r, b, n, spec.features), like)
        self.final_features = self.actor.blank((t, r, b, n, spec.features), like)
        if self.central:
            self.states = torch.empty(t + 1, r, b, card.state_size, device=device)
            self.final_states = torch.empty(t, r, b, card.state_size, device=device)
        raw = (t, r, b, n, max(spec.action_sizes)) if self.actor.continuous else (t, r, b, n)
        self.actions = torch.empty(raw, dtype=torch.float32 if self.actor.continuous else torch.int64, device=device)
        self.rewards = torch.empty(t, r, b, n, device=device)
        self.terminated = torch.empty(t, r, b, dtype=torch.bool, device=device)
        self.truncated = torch.empty(t, r, b, dtype=torch.bool, device=device)
        self.masks = (
            torch.empty(t, r, b, n, max(spec.action_sizes), dtype=torch.bool, device=device) if card.masked else None
        )
        self.alive: Tensor | None = None  # allocated when the environment first sends an alive mask
        self.died: Tensor | None = None  # likewise

    @torch.no_grad()
    def collect(self) -> None:
        """Fill the buffers with T steps of every environment under the current policy."""
        t_max, r, b, n = self.shape
        start = self.frames // b
        steps = torch.arange(start, start + t_max, device=self.env.device)[:, None]
        noise = action_noise(self.action_keys, steps, self.actor)
        actor, env, now = self.actor, self.env, self.now
        for t in range(t_max):
            features = actor.features(now.observation, self.features[t])
            output = actor(features)
            if self.masks is not None and now.action_mask is not None:
                self.masks[t] = now.action_mask.view(r, b, n, -1)
                output = mask_logits(output, self.masks[t])
            raw = actor.sample(output, noise[t])
            self.actions[t] = raw
            if self.central:
                self.states[t] = now.state.unflatten(0, (r, b))
            if now.alive_mask is not None:
                if self.alive is None:
                    self.alive = torch.ones(t_max, r, b, n, device=env.device)
                    self.died = torch.zeros(t_max, r, b, n, dtype=torch.bool, device=env.device)
                self.alive[t] = now.alive_mask.view(r, b, n)
            now = env.step(actor.to_task(raw).flatten(0, 1))  # type: ignore[assignment]
            self.rewards[t] = now.reward.unflatten(0, (r, b))  # type: ignore[attr-defined]
            self.terminated[t] = now.terminated.view(r, b)  # type: ignore[attr-defined]
            if self.died is not None:
                self.died[t] = now.agent_terminated.view(r, b, n)  # type: ignore[attr-defined]
            self.truncated[t] = now.truncated.view(r, b)  # type: ignore[attr-defined]
            # An environment that ended nothing hands back the same tensor: nothing to keep then.
            if now.final_observation is not now.observation:  # type: ignore[attr-defined]
                actor.features(now.final_observation, self.final_features[t])  # type: ignore[attr-defined]
                if self.central:
                    self.final_states[t] = now.final_state.unflatten(0, (r, b))  # type: ignore[attr-defined]
        actor.features(now.observation, self.features[t_max])
        if self.central:
            self.states[t_max] = now.state.unflatten(0, (r, b))
        self.now = now

    # -- update ------------------------------------------------------------------------------------------

    def update(self) -> dict[str, Tensor]:
        """Advantages, then ``epochs`` passes of clipped-surrogate updates over the buffers."""
        config, (t, r, b, n) = self.config, self.shape
        advantage, returns = self.estimate()
        log_p = self._old_log_probabilities()
        flat = {
            "features": self.features[:t].view(t * r * b, n, -1),
            "actions": self.actions.view(t * r * b, n, *self.actions.shape[4:]),
            "log_p": log_p.view(t * r * b, n),
            "advantage": advantage.reshape(t * r * b, n),
            "returns": returns.reshape(t * r * b, -1),
        }
        if self.central:
            flat["states"] = self.states[:t].view(t * r * b, -1)
        if self.masks is not None:
            flat["masks"] = self.masks.view(t * r * b, n, -1)
        if self.alive is not None:
            flat["alive"] = self.alive.view(t * r * b, n)
        self._set_learning_rate()
        totals = torch.zeros(5, r, device=self.env.device)
        for epoch in range(config.epochs):
            for rows in self._minibatches(epoch):
                totals += self._step(flat, rows)
        metrics = dict(zip(METRICS, totals / (config.epochs * config.minibatches)))
        self._freeze_diverged(metrics)
        return metrics

    @torch.no_grad()
    def estimate(self) -> tuple[Tensor, Tensor]:
        """(normalised advantages [T, R, B, N], value targets [T, R, B, V]) of the buffers."""
        config, (t, r, b, n) = self.config, self.shape
        value = self._value(self.states if self.central else self.features)
        final = self._final_values(value.shape[-1])
        reward = self.rewards.mean(dim=3, keepdim=True) if self.team_reward else self.rewards
        terminated, truncated = self.terminated[..., None], self.truncated[..., None]
        if self.died is not None and not self.team_reward:
            terminated = terminated | self.died  # an agent's own rewards end with it; the team's go on
        following = next_values(value[:t], value[t], final, truncated)
        advantage = gae(reward, value[:t], following, terminated, truncated, config.gamma, config.gae_lambda)
        returns = advantage + value[:t]
        advantage = advantage.expand(t, r, b, n)
        if config.normalise_advantage != "none":
            over = (0, 2) if config.normalise_advantage == "agent" else (0, 2, 3)
            mean = advantage.mean(dim=over, keepdim=True)
            std = advantage.std(dim=over, keepdim=True, correction=0)
            advantage = (advantage - mean) / (std + 1e-8)
        if self.value_norm is not None:
            self.value_norm.update(returns.transpose(0, 1).flatten(1))
            mean, std = (x[None, :, None, None] for x in self.value_norm.moments())
            returns = (returns - mean) / std
        return advantage, returns

    def _value(self, inputs: Tensor) -> Tensor:
        """Denormalised values [T', R, B, V] of states [T', R, B, S] or features [T', R, B, N, F]."""
        rows = max(1, CHUNK_ROWS // (self.shape[1] * self.shape[2] * self.shape[3]))
        value = torch.cat([self._critic(chunk.transpose(0, 1).flatten(1, 2)).unflatten(1, (len(chunk), -1))
                           for chunk in inputs.split(rows)], dim=1).transpose(0, 1)  # fmt: skip
        if self.value_norm is not None:
            mean, std = (x[None, :, None, None] for x in self.value_norm.moments())
            value = value * std + mean
        return value

    def _critic(self, x: Tensor) -> Tensor:
        """[R, n, S] or [R, n, N, F] -> [R, n, V]."""
        if self.central:
            x = x[:, :, None].expand(-1, -1, self.values, -1)
        out = self.critic(x)
        return out.squeeze(2) if out.shape[-1] > 1 else out.squeeze(-1)

    def _final_values(self, width: int) -> Tensor:
        """V of final observations where an episode was truncated (elsewhere 0), [T, R, B, V]."""
        t, r, b, _ = self.shape
        final = torch.zeros(t, r, b, width, device=self.env.device)
        cut = self.truncated.any(dim=2).any(dim=1).nonzero().flatten()  # rollout steps with a truncation
        if len(cut):
            inputs = self.final_states if self.central else self.final_features
            final[cut] = self._value(inputs[cut])
        return final

    @torch.no_grad()
    def _old_log_probabilities(self) -> Tensor:
        t, r, b, n = self.shape
        rows = max(1, CHUNK_ROWS // (r * b * n))
        parts = []
        for s in range(0, t, rows):
            features = self.features[s : min(s + rows, t)].transpose(0, 1).flatten(1, 2)
            actions = self.actions[s : s + rows].transpose(0, 1).flatten(1, 2)
            masks = None if self.masks is None else self.masks[s : s + rows].transpose(0, 1).flatten(1, 2)
            log_p, _ = self._stats(features, actions, masks)
            parts.append(log_p.unflatten(1, (-1, b)))
        return torch.cat(parts, dim=1).transpose(0, 1).contiguous()

    def _stats(self, features: Tensor, actions: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of raw actions, [R, n, N] each."""
        output = self.actor(features)
        if self.actor.continuous:
            used = None if self.actor.legal is None else self.actor.legal.to(output.dtype)
            return gaussian_stats(output, self.actor.spread(), actions, used)
        return categorical_stats(mask_logits(output, masks), actions)

    def _minibatches(self, epoch: int) -> Iterator[Tensor]:
        """Row indices [R, m] into the flat buffers; every replica shuffles by its own counters."""
        t, r, b, _ = self.shape
        order = rng.fold(self.batch_keys, self.updates, epoch).argsort(dim=1)  # [R, T*B], of (t, b)
        replica = torch.arange(r, device=order.device)[:, None]
        rows = (order // b) * (r * b) + replica * b + order % b
        yield from rows.tensor_split(self.config.minibatches, dim=1)  # sizes differ by one at most

    def _step(self, flat: dict[str, Tensor], rows: Tensor) -> Tensor:
        """One optimiser step on a minibatch, in cache-sized chunks; returns the metrics' sums [5, R]."""
        config, (_, r, _, n) = self.config, self.shape
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros(5, r, device=rows.device)
        for index in rows.split(max(1, CHUNK_ROWS // (r * n)), dim=1):
            part = {k: v.index_select(0, index.flatten()).unflatten(0, index.shape) for k, v in flat.items()}
            log_p, entropy = self._stats(part["features"], part["actions"], part.get("masks"))
            value = self._critic(part["states"] if self.central else part["features"])
            ratio = torch.exp(log_p - part["log_p"])
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            surrogate = torch.minimum(ratio * part["advantage"], clipped * part["advantage"])
            if "alive" in part:
                surrogate, entropy = surrogate * part["alive"], entropy * part["alive"]
            scale = 1.0 / (rows.shape[1] * n)
            policy_loss = -surrogate.sum(dim=(1, 2)) * scale
            mean_entropy = entropy.sum(dim=(1, 2)) * scale
            # Dead agents' values are learned too: under a team reward their last steps bootstrap from them.
            error = (value - part["returns"]).square()
            value_loss = 0.5 * error.sum(dim=(1, 2)) / (rows.shape[1] * error.shape[2])
            # Replicas are independent, so the gradient of the sum is each replica's own gradient.
            loss = policy_loss + config.value_weight * value_loss - config.entropy_weight * mean_entropy
            loss.sum().backward()
            with torch.no_grad():
                moved = ((ratio - 1).abs() > config.clip).to(ratio.dtype).sum(dim=(1, 2)) * scale
                total[:4] += torch.stack((policy_loss, value_loss, mean_entropy, moved))
        if bool(self.frozen.any()):
            zero_replicas((p.grad for p in self.actor_parameters + self.critic_parameters), self.frozen)
        total[4] = clip_gradients(self.actor_parameters, r, config.max_grad_norm)
        clip_gradients(self.critic_parameters, r, config.max_grad_norm)
        self.optimiser.step()
        return total

    def _set_learning_rate(self) -> None:
        left = max(0.0, 1.0 - self.frames / self.total_frames) if self.config.anneal else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * left

    # -- divergence --------------------------------------------------------------------------------------

    def _freeze_diverged(self, metrics: dict[str, Tensor]) -> None:
        """Record and freeze replicas with a non-finite action, loss, gradient or weight."""
        t, r, b, n = self.shape
        checks = {"action": per_replica(self.actions.transpose(0, 1).float(), r).isfinite().all(dim=1)}
        checks |= {name: value.isfinite() for name, value in metrics.items()}
        checks["weights"] = finite_replicas(self.actor_parameters + self.critic_parameters, r)
        healthy = torch.stack(list(checks.values())).cpu()  # [checks, R]: one host copy per iteration
        if bool((healthy.all(dim=0) | self.frozen).all()):
            return
        for k, seed in enumerate(self.seeds):
            if not self.frozen[k] and not bool(healthy[:, k].all()):
                name = next(name for name, ok in zip(checks, healthy[:, k]) if not ok)
                self.divergences.append(Divergence(seed, name, self.frames + self.frames_per_iteration))
                self.frozen[k] = True
        slots = [s for state in self.optimiser.state.values() for s in state.values() if s.ndim > 0]
        parameters = self.actor_parameters + self.critic_parameters
        zero_replicas([*parameters, *slots], self.frozen.to(self.env.device))

    # -- checkpoint --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on."""
        return {
            "frames": self.frames,
            "updates": self.updates,
            "actor": self.actor.state_dict(),
            "critic": self.critic.mlp.state_dict(),
            "optimiser": optimiser_state(self.optimiser),
            "value_norm": self.value_norm.state_dict() if self.value_norm else {},
            "env": self.env.state_dict(),
            "frozen": self.frozen,
            "divergences": [d.to_json() for d in self.divergences],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit from :meth:`state_dict`."""
        self.frames, self.updates = int(state["frames"]), int(state["updates"])
        self.actor.load_state_dict(state["actor"])
        self.critic.mlp.load_state_dict(state["critic"])
        load_optimiser_state(self.optimiser, state["optimiser"])
        if self.value_norm is not None:
            self.value_norm.load_state_dict(state["value_norm"])
        self.env.load_state_dict(state["env"])
        self.frozen = state["frozen"].cpu()
        self.divergences = [Divergence(**d) for d in state["divergences"]]
        self.now = self.env.current()


METRICS = ("policy_loss", "value_loss", "entropy", "clip_fraction", "gradient_norm")
