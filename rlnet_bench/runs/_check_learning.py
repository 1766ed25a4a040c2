"""Rules about learners. A rule returns a sentence when it holds.

Axes: **R** replicas, **B** environments per replica, **N** agents.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.check.rules import Skip, Violation, require
from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.learner import Learner
from rlnet_bench.runs._check_case import Case, differing, replica_of, rule, same_bits, tensors_of
from rlnet_bench.runs.checkpoint import read_newest, write_checkpoint

TOLERANCE = 1e-5  # replica alone against in a batch, over the first updates
ACTING_ENVS = 8
ACTING_STEPS = 6


@rule
def capabilities(case: Case) -> str:
    """The method runs on this task and refuses the kinds that it does not claim."""
    method, card, found = case.method, case.card, []
    config = method.configure(case.config["settings"])
    claims = method.capabilities
    for kind in ("discrete", "continuous"):
        other = replace(card, action_kind=kind)
        if not getattr(claims, kind) and method.impossible(other, config) is None:
            found.append(f"{kind} actions: expected a refusal, as capabilities.{kind} is False")
    mixed = replace(card, observation_sizes=tuple(range(1, card.num_agents + 1)))
    if card.num_agents > 1 and not claims.heterogeneous and method.impossible(mixed, config) is None:
        found.append("agents of different sizes: expected a refusal, as capabilities.heterogeneous is False")
    require(found)
    return f"runs on {card.id}, refuses what it does not claim"


@rule
def learner_contract(case: Case) -> str:
    """Counters start at zero, an iteration adds exactly its frames, metrics are one number per replica."""
    case.trained()
    learner, found = case.learner(), []
    if (learner.frames, learner.updates, list(learner.divergences)) != (0, 0, []):
        found.append(f"fresh: expected frames 0, updates 0, no divergences, found {learner.frames}, {learner.updates}")
    each = learner.frames_per_iteration
    for i in range(1, 3):
        metrics = learner.iterate()
        if learner.frames != i * each or learner.frames_per_iteration != each:
            found.append(f"iteration {i}: expected {i * each} frames, found {learner.frames}")
        for name, value in metrics.items():
            if value.shape != (len(case.seeds),) or not bool(value.isfinite().all()):
                found.append(f"metric {name!r}: expected {len(case.seeds)} finite numbers, found {value}")
    if learner.updates < 1:
        found.append(f"updates: expected some after two iterations, found {learner.updates}")
    if learner.policy().replicas != len(case.seeds):
        found.append(f"policy().replicas: expected {len(case.seeds)}, found {learner.policy().replicas}")
    env = getattr(learner, "env", None)
    if env is not None and each % max(env.num_envs // len(case.seeds), 1):
        found.append(f"frames_per_iteration {each} is not a multiple of the environments per replica")
    require(found)
    return f"{each} frames per iteration and replica"


@rule
def acting(case: Case) -> str:
    """Both modes give legal actions of the right shape, and repeat themselves."""
    card, r, found = case.card, len(case.seeds), []
    policy = case.learner().policy()
    n = r * ACTING_ENVS
    env = make_env(card, n, case.config["device"])
    keys = rng.env_keys(case.seeds, rng.Stream.USER, ACTING_ENVS, case.config["device"])
    now = env.reset(keys)
    sizes = torch.tensor(card.action_sizes, device=keys.device)
    discrete = card.action_kind == "discrete"
    shape = (n, card.num_agents) if discrete else (n, card.num_agents, card.action_size)
    for deterministic in (True, False):
        mode = "deterministic" if deterministic else "sampled"
        state, again = policy.initial_state(n, keys), policy.initial_state(n, keys)
        before = now.observation.clone()
        first, after = policy.act(now.observation, state, now.action_mask, None, deterministic)
        second, _ = policy.act(now.observation, again, now.action_mask, None, deterministic)
        policy.act(now.observation, after, now.action_mask, None, deterministic)
        if first.shape != shape or first.dtype != (torch.int64 if discrete else torch.float32):
            found.append(f"{mode}: expected {shape} of {'int64' if discrete else 'float32'}, found {first.shape}")
            continue
        if not same_bits(first, second):
            found.append(f"{mode}: the same observation, state and keys gave different actions")
        if not same_bits(before, now.observation):
            found.append(f"{mode}: the observation was changed in place")
        if discrete:
            legal = (first >= 0) & (first < sizes)
            if now.action_mask is not None:
                legal &= now.action_mask.gather(2, first.clamp(0, card.action_size - 1)[..., None])[..., 0]
            if not bool(legal.all()):
                found.append(f"{mode}: {int((~legal).sum())} illegal actions")
        elif not bool(first.isfinite().all()):
            found.append(f"{mode}: actions that are not finite")
        else:
            spare = torch.arange(card.action_size, device=keys.device)[None] >= sizes[:, None]
            if bool((first * spare).any()):
                found.append(f"{mode}: dimensions that a narrow agent lacks are not zero")
            outside = ((first < card.action_low) | (first > card.action_high))[:, ~spare]
            if card.action_lows is None and bool(outside.any()):
                found.append(f"{mode}: actions outside {card.action_low}..{card.action_high}")
    env.close()
    require(found)
    return "deterministic and sampled actions are legal and repeat themselves"


@rule
def rebuilt_policy(case: Case) -> str:
    """Made again by the method's class from plain data and loaded, a policy acts the same; a reset clears memory."""
    card, device, found = case.card, case.config["device"], []
    learner = case.learner()
    for _ in range(2 if case.method.capabilities.trains else 0):
        learner.iterate()
    policy = learner.policy()
    again = case.method.rebuild(json.loads(json.dumps(policy.spec())), card, case.seeds, device)
    weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    again.load_state_dict(weights)
    if differing(again.state_dict(), weights):
        raise Violation(f"loaded weights are not there: {differing(again.state_dict(), weights)}")
    n = len(case.seeds) * ACTING_ENVS
    env = make_env(card, n, device)
    keys = rng.env_keys(case.seeds, rng.Stream.USER, ACTING_ENVS, device)
    for deterministic in (True, False):
        now: Any = env.reset(keys)
        mine, theirs = policy.initial_state(n, keys), again.initial_state(n, keys)
        begun = torch.ones(n, dtype=torch.bool, device=keys.device)
        for t in range(ACTING_STEPS):
            action, mine = policy.act(now.observation, mine, now.action_mask, begun, deterministic)
            other, theirs = again.act(now.observation, theirs, now.action_mask, begun, deterministic)
            if not same_bits(action, other):
                found.append(f"step {t}, deterministic={deterministic}: the rebuilt policy acts differently")
                break
            now = env.step(action)
            begun = now.terminated | now.truncated
        fresh = policy.initial_state(n, keys)._replace(step=mine.step)
        everywhere = torch.ones_like(begun)
        after = policy.act(now.observation, mine, now.action_mask, everywhere, deterministic)[0]
        if not same_bits(after, policy.act(now.observation, fresh, now.action_mask, everywhere, deterministic)[0]):
            found.append(f"deterministic={deterministic}: memory from before a reset is not cleared")
    env.close()
    if weights:
        name, tensor = next(iter(weights.items()))
        bad = {
            "without one tensor": {k: v for k, v in weights.items() if k != name},
            "with one more tensor": {**weights, "one more": tensor},
            "with a wider tensor": {**weights, name: torch.cat((tensor, tensor), dim=-1)},
        }
        for what, state in bad.items():
            with contextlib.suppress(ValueError):
                again.load_state_dict(state)
                found.append(f"load_state_dict: expected a ValueError for weights {what}")
    require(found)
    memory = sorted(policy.initial_state(n, keys).memory)
    return (
        f"rebuilt from {len(policy.spec())} keys, acts the same for {ACTING_STEPS} steps (memory: {memory or 'none'})"
    )


@rule
def same_seeds_same_numbers(case: Case) -> str:
    """Two fresh learners of the same seeds stay equal to the bit; different seeds differ."""
    case.trained()
    a, b = case.learner(), case.learner()
    for _ in range(2):
        a.iterate()
        b.iterate()
    require([f"{n}: differs between two learners of the same seeds" for n in differing(tensors_of(a), tensors_of(b))])
    weights = a.policy().state_dict()
    first, second = (replica_of(weights, k, len(case.seeds)) for k in (0, 1))
    if weights and all(torch.allclose(first[n], second[n], atol=1e-4) for n in first):
        raise Violation(f"seeds {case.seeds[0]} and {case.seeds[1]} have the same weights: the seed has no effect")
    return "equal to the bit after two iterations; other seeds, other weights"


@rule
def state_continues_to_the_bit(case: Case) -> str:
    """A learner that is saved to disk and loaded into a fresh one goes on as if nothing had happened."""
    case.trained()
    for before in (0, 1, 2):
        kept, loaded = case.learner(), case.learner()
        for _ in range(before):
            kept.iterate()
        folder = case.root / f"state-{before}"
        write_checkpoint(folder, kept.frames, {"learner": kept.state_dict()})
        saved, notes = read_newest(folder)
        if saved is None:
            raise Violation(f"the state cannot be read back: {notes}")
        loaded.load_state_dict(saved["learner"])
        found = differing(tensors_of(kept), tensors_of(loaded))
        require([f"{n}: differs at once after loading (saved after {before} iterations)" for n in found])
        for _ in range(2):
            kept.iterate()
            loaded.iterate()
        found = differing(tensors_of(kept), tensors_of(loaded))
        require([f"{n}: differs two iterations after loading (saved after {before})" for n in found])
        if (kept.frames, kept.updates) != (loaded.frames, loaded.updates):
            raise Violation(
                f"frames and updates: expected {kept.frames, kept.updates}, found {loaded.frames, loaded.updates}"
            )
    return "saved after 0, 1 and 2 iterations, equal to the bit two iterations later"


@rule
def replica_alone_or_in_a_batch(case: Case) -> str:
    """Replica k has the same randomness alone and in a batch, and nearly the same numbers."""
    case.trained()
    if not case.card.batch_invariant:
        raise Skip(f"{case.card.id} is not batch-invariant (its card says so)")
    together, r = case.learner(), len(case.seeds)
    heard = _listen(together)
    metrics = [together.iterate() for _ in range(2)]
    weights = together.policy().state_dict()
    worst, found = 0.0, []
    for k, seed in enumerate(case.seeds):
        alone = case.learner((seed,))
        said = _listen(alone)
        for i, batch in enumerate(metrics):
            for name, value in alone.iterate().items():
                gap = float((value[0] - batch[name][k]).abs() / (1 + value[0].abs()))
                worst = max(worst, gap)
                if not gap <= TOLERANCE:
                    found.append(
                        f"seed {seed}, iteration {i}: {name} {value[0]:.8g} alone, {batch[name][k]:.8g} in a batch"
                    )
            if i == 0:
                found += _compare_actions(seed, said, heard, k, r)
        for name, mine in alone.policy().state_dict().items():
            gap = float((mine - replica_of(weights, k, r)[name]).abs().max())
            worst = max(worst, gap)
            if not gap <= TOLERANCE:
                found.append(f"seed {seed}: {name} differs by {gap:.2g} from the batch")
    require(found)
    return f"first actions equal, then within {worst:.1g} after {together.updates} updates"


def _listen(learner: Learner) -> list[Tensor]:
    """Write down the actions of a learner's environment, where it shows one."""
    env: Any = getattr(learner, "env", None)
    heard: list[Tensor] = []
    if env is not None:
        step = env.step

        def listening(actions: Tensor) -> Any:
            heard.append(actions.clone())
            return step(actions)

        env.step = listening
    return heard


def _compare_actions(seed: int, alone: list[Tensor], batch: list[Tensor], k: int, r: int) -> list[str]:
    """The first iteration's actions: equal for discrete tasks, and within rounding for continuous ones."""
    for t, (one, all_) in enumerate(zip(alone, batch)):
        mine = all_.unflatten(0, (r, -1))[k]
        equal = torch.equal(one, mine) if one.dtype == torch.int64 else torch.allclose(one, mine, atol=TOLERANCE)
        if not equal:
            return [f"seed {seed}: its actions at step {t} of the first rollout differ from those in a batch"]
    return []


@rule
def divergence_freezes_one(case: Case) -> str:
    """A poisoned replica is named and frozen; the others go on to the same bits as without the poison."""
    case.trained()
    healthy, sick, r = case.learner(), case.learner(), len(case.seeds)
    if not healthy.policy().state_dict():
        raise Skip("the policy has no weights to poison")
    for learner in (healthy, sick):
        learner.iterate()
    poisoned = {n: w.clone() for n, w in sick.policy().state_dict().items()}
    name = next(iter(poisoned))
    rows = len(poisoned[name]) // r
    poisoned[name][rows : 2 * rows] = float("nan")
    sick.policy().load_state_dict(poisoned)
    for _ in range(3):
        healthy.iterate()
        sick.iterate()
    seeds = [d.seed for d in sick.divergences]
    if seeds != [case.seeds[1]]:
        raise Violation(f"divergences: expected exactly seed {case.seeds[1]}, found {list(sick.divergences)}")
    found = []
    note = sick.divergences[0]
    each = sick.frames_per_iteration
    if not note.tensor or not each <= note.frames <= 3 * each:
        found.append(f"divergence: expected a tensor and its frame ({each}..{3 * each}), found {note}")
    expected, actual = healthy.policy().state_dict(), sick.policy().state_dict()
    for k in (k for k in range(r) if k != 1):
        mine, theirs = replica_of(actual, k, r), replica_of(expected, k, r)
        found += [f"{n}: seed {case.seeds[k]} was touched by the poison of another" for n in differing(mine, theirs)]
    found += [f"{n}: not finite after the freeze" for n, w in actual.items() if not bool(w.isfinite().all())]
    again = case.learner()
    again.load_state_dict(sick.state_dict())
    if [d.to_json() for d in again.divergences] != [d.to_json() for d in sick.divergences]:
        found.append("divergences are lost in a checkpoint")
    require(found)
    return f"frozen at once ({note.tensor}, frame {note.frames}); the others equal to the bit"
