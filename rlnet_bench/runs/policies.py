"""Trained policies on disk: weights as safetensors, architecture as JSON, loaded without a trainer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import resized, task_card
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.learning.channel import needs
from rlnet_bench.learning.information import execution_class, information_flow
from rlnet_bench.learning.policy import Policy, Trained
from rlnet_bench.methods import Method, catalogued, check_possible
from rlnet_bench.reading.files import Absent
from rlnet_bench.reading.tensors import read_tensors
from rlnet_bench.runs.described import card_of, read_description
from rlnet_bench.runs.files import DiskRefused, write_atomic, writing
from rlnet_bench.runs.named import find_cell, split
from rlnet_bench.runs.plan import Group, method_of, run_id, task_of, trust_groups
from rlnet_bench.runs.published import published_weights
from rlnet_bench.runs.record_files import adopted_weights, best_weights, read_config, read_policy
from rlnet_bench.vocabulary import Mode, Weights

FORMAT = 2  # of policy.json


def save_policies(
    folder: Path,
    card: TaskCard,
    policy: Policy,
    sets: Mapping[str, Mapping[str, torch.Tensor]],
    device: str = "cpu",
) -> None:
    """Write ``policies/policy.json`` (with what tables say of it) and one file of stacked weights per set.

    Raises:
        DiskRefused: when the disk refuses.
    """
    target = folder / "policies"
    depends = information_flow(policy, card, device)
    body = {
        "format": FORMAT,
        "execution": execution_class(policy, depends),
        "actor_parameters": sum(w.numel() for w in policy.state_dict().values()) // policy.replicas,
        "columns": policy.columns() or needs(depends, card),
        "policy": policy.spec(),
    }
    with writing(target):
        target.mkdir(exist_ok=True)
        for left in target.glob(".*"):  # of a run that was killed while it wrote
            left.unlink()
    write_atomic(target / "policy.json", json.dumps(body, indent=1) + "\n")
    for name, weights in sets.items():
        if weights:
            save_weights(target / f"{name}.safetensors", weights)


def save_weights(file: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; raises DiskRefused when the disk refuses."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    try:
        with writing(file):
            save_file(tensors, file)
    except SafetensorError as error:  # how safetensors says it
        raise DiskRefused(f"{file}: cannot be written ({error}); nothing was damaged.") from error


def load_policy(
    source: str | Path,
    seed: int | None = None,
    which: Weights = "best",
    device: str = "cpu",
    *,
    mode: Mode | None = None,
    results: str | Path | None = None,
    trust_code: bool = False,
    given: Iterable[str] = (),
    agents: int | None = None,
) -> Policy:
    """The policy of a run directory, or a published one by name; no trainer needed.

    Args:
        source: a directory ``STORE/runs/<id>``, or ``METHOD@TASK`` (a control or script also where none is published).
        seed: one training seed (R = 1), or None for all that are there, stacked.
        which: the best checkpoint (absolute metric) or the final weights.
        device: torch device.
        mode: by whose scores the best is the best; by those of the run's primary mode by default.
        results: the folder of publications in which a name is looked up; by default ``results`` here, else that of the
            repository this package is installed from.
        trust_code: import the code that the record names (a method or a task of somebody's file).
        given: where recorded files are now, as ``FILE.py:Class``; trusted by that when their content is the recorded.
        agents: for the same task with so many agents instead; what was trained on is only read.

    Raises:
        Untrusted: before anything is imported, when the record names code.
        UnknownName: for a name that nothing has.
        StoreError: when the directory holds no finished policy, or its weights were not published.
        BadInput: when the seed is not in the group, or the weights do not fit the policy that the method makes; for a
            policy that is tied to the number of agents that it was trained with.
    """
    if split(str(source)) and not Path(source).exists():
        if which != "best" or mode is not None:
            raise BadInput(
                f"{source}: published are the best weights of the suite's mode only; a run directory has all."
            )
        return _untrained(str(source), seed, device, agents) or _published(
            str(source), seed, device, results, trust_code, given, agents
        )
    folder = Path(source)
    try:
        config, described = read_config(folder / "config.json"), read_policy(folder / "policies" / "policy.json")
    except StoreError as error:
        raise StoreError(
            f"{folder}: no finished policy here ({error}) Give a directory STORE/runs/<id>, or METHOD@TASK."
        ) from None
    if not described:
        raise StoreError(f"{folder}: no finished policy here; give a directory STORE/runs/<id>.")
    seeds = tuple(config["seeds"])
    if seed is not None and seed not in seeds:
        raise BadInput(f"{folder}: no seed {seed}; this run has seeds {list(seeds)}.")
    chosen = seeds if seed is None else (seed,)
    group = Group(folder.name, config, read_description(folder, config))
    known = card_of(config, group.described)
    trust_groups([group], folder, trust_code, given, tasks=known is None)
    weights = load_weights(folder, seed, which, device, mode=mode)
    if not weights and described.get("actor_parameters", 1):
        some = [s for s in seeds if adopted_weights(folder, s).exists()] if which == "best" else []
        hint = (
            f" of all its seeds; there are those of seed {some[0]}: ask for that one (--seed {some[0]})."
            if some
            else "."
        )
        raise StoreError(f"{folder}: no {which} weights here{hint}")
    policy = _on_task(config, described, weights, chosen, known or task_of(config), agents, device)
    policy.trained = Trained(group.label, chosen, (run_id(config),) * len(chosen))
    return policy


def _on_task(
    config: Mapping[str, Any],
    described: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    seeds: tuple[int, ...],
    card: TaskCard,
    agents: int | None,
    device: str,
) -> Policy:
    """The policy of a record, for its task or for the same with another number of agents."""
    method, card, own = method_of(config), card if agents is None else resized(card, agents), card
    try:
        policy = rebuild_policy(method, described, weights, seeds, card, device)
    except BadInput as error:
        if card is own:
            raise
        raise BadInput(f"{method.id} on {own.id} is tied to its {own.num_agents} agents: {_untie(method)}") from error
    policy.plays = card
    return policy


def _untie(method: type[Method]) -> str:
    """Which settings would have made its weights independent of the number of agents."""
    fields = method.Config.model_fields
    free = "encoder" in fields and "entities" in get_args(fields["encoder"].annotation)
    if not free:
        return f"its weights fit no other number of them, and no setting of {method.id} changes that."
    if "changes" in fields:
        return ("its weights fit no other number of them. Train it with `encoder: entities` and "
                "`share_parameters: true`; what vertices above the motors read must not grow with their number "
                "(docs/team-sizes.md).")  # fmt: skip
    return ("it reads plain observations or ids of agents, or has a network for each. Train it with "
            "`encoder: entities` and `share_parameters: true` to play with any number.")  # fmt: skip


def _published(
    name: str,
    seed: int | None,
    device: str,
    results: str | Path | None,
    trust_code: bool,
    given: Iterable[str],
    agents: int | None,
) -> Policy:
    """A published policy: the replicas of all groups of its cell, stacked."""
    root, cell = find_cell(name, results)
    ended = [r for r in cell.finished if r.seed_status]
    if not ended:
        raise StoreError(f"{root}: {name} is declared there and has not ended.")
    described = cell.policies[ended[0].run_id]
    config = ended[0].config
    files = {s: (published_weights(root, r, s), r.run_id) for r in ended for s in r.seeds}
    has_none = not described.get("actor_parameters", 1)
    here = {s: (file, run) for s, (file, run) in files.items() if file is not None or has_none}
    if not here:
        raise StoreError(f"{root}: the weights of {name} were not published; the suite run again gives them back.")
    if seed is not None and seed not in here:
        raise BadInput(f"{name}: no weights of seed {seed}; {root} has seeds {sorted(here)}.")
    chosen = tuple(sorted(here)) if seed is None else (seed,)
    group = next(g for g in cell.plan.groups if g.run_id == ended[0].run_id)
    known = card_of(config, group.described)
    trust_groups([group], root, trust_code, given, tasks=known is None)
    parts = [read_tensors(file, device) for s in chosen if (file := here[s][0]) is not None]
    weights = {k: torch.cat([part[k] for part in parts]) for k in (parts[0] if parts else ())}
    policy = _on_task(config, described, weights, chosen, known or task_of(config), agents, device)
    policy.trained = Trained(ended[0].method, chosen, tuple(here[s][1] for s in chosen))
    return policy


def _untrained(name: str, seed: int | None, device: str, agents: int | None) -> Policy | None:
    """A control or a script, which the task's card alone makes; None for every other name."""
    label, task = split(name) or ("", "")
    method = catalogued(label)
    if method is None or method.capabilities.trains:
        return None
    card = task_card(task) if agents is None else resized(task_card(task), agents)
    check_possible(method, card, method.configure({}))
    seeds = (0 if seed is None else seed,)
    policy = method.rebuild({}, card, seeds, device)
    policy.plays, policy.trained = card, Trained(label, seeds, ("",))
    return policy


def load_weights(
    folder: Path, seed: int | None = None, which: Weights = "best", device: str = "cpu", *, mode: Mode | None = None
) -> dict[str, torch.Tensor]:
    """The stacked weights of a run directory, or one seed's; empty for a policy that has none.

    Raises:
        StoreError: when they are missing or damaged.
    """
    config = read_config(folder / "config.json")
    seeds = tuple(config["seeds"])
    name = best_weights(config, mode) if which == "best" else which
    file, alone = folder / "policies" / f"{name}.safetensors", False
    if seed is not None and name == best_weights(config) and adopted_weights(folder, seed).exists():
        file, alone = adopted_weights(folder, seed), True
    try:
        weights = read_tensors(file, device)
    except Absent:
        return {}
    except StoreError as error:
        raise StoreError(f"{file}: no {which} weights here ({error})") from None
    if seed is None or alone:
        return weights
    k = seeds.index(seed)
    return {n: w[k * len(w) // len(seeds) : (k + 1) * len(w) // len(seeds)] for n, w in weights.items()}


def rebuild_policy(
    method: type[Method],
    described: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    seeds: tuple[int, ...],
    card: TaskCard,
    device: str = "cpu",
) -> Policy:
    """The policy that a method's class makes of plain data, with the stored weights in it, or a refusal.

    Args:
        method: whose ``rebuild`` is asked.
        described: the content of a ``policy.json``.
        weights: tensors [R * copies, ...] of the replicas ``seeds``.
        seeds: one per replica.
        card: the task.
        device: torch device.

    Raises:
        BadInput: when the class cannot make it, or a tensor is missing, unexpected or of another shape.
    """
    # Until format 2 the spec stood beside what tables say of the policy.
    spec = described.get("policy", described)
    policy = method.rebuild(spec, card, seeds, device)
    try:
        policy.load_state_dict(weights)
    except ValueError as error:
        raise BadInput(f"a policy of {method.id} on {card.id}: {error}.") from None
    return policy
