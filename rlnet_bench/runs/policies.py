"""Trained policies on disk: weights as safetensors, architecture as JSON, loaded without a trainer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.channel import needs
from rlnet_bench.learning.information import execution_class
from rlnet_bench.learning.policy import ActorPolicy, Policy
from rlnet_bench.reading.shapes import check
from rlnet_bench.reading.tensors import read_tensors
from rlnet_bench.runs.files import DiskRefused, write_atomic, writing
from rlnet_bench.runs.plan import trust_configs
from rlnet_bench.runs.verify import adopted_weights, read_config, read_policy
from rlnet_bench.vocabulary import Weights


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
    body = {
        "format": 1,
        "execution": execution_class(policy, card, device),
        "actor_parameters": sum(w.numel() for w in policy.state_dict().values()) // policy.replicas,
        **policy.spec_json(),
    }
    if isinstance(policy, ActorPolicy):
        body["columns"] = needs(policy.actor.spec)
    with writing(target):
        target.mkdir(exist_ok=True)
        for left in target.glob(".*"):  # of a run that was killed while it wrote
            left.unlink()
    write_atomic(target / "policy.json", json.dumps(body, indent=1) + "\n")
    for name, weights in sets.items():
        if weights:
            file = target / f"{name}.safetensors"
            tensors = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
            try:
                with writing(file):
                    save_file(tensors, file)
            except SafetensorError as error:  # how safetensors says it
                raise DiskRefused(f"{file}: cannot be written ({error}); nothing was damaged.") from error


def load_policy(
    run_dir: str | Path,
    seed: int | None = None,
    which: Weights = "best",
    device: str = "cpu",
    *,
    trust_code: bool = False,
    given: Iterable[str] = (),
) -> Policy:
    """The policy of a run directory; no trainer needed.

    Args:
        run_dir: a directory ``STORE/runs/<id>``.
        seed: one seed (R = 1), or None for all seeds of the group stacked.
        which: the best checkpoint (absolute metric) or the final weights.
        device: torch device.
        trust_code: import the code that the record names, where the policy needs it; most are built of modules of ours.
        given: where recorded files are now, as ``FILE.py:Class``; trusted by that when their content is the recorded.

    Raises:
        Untrusted: before anything is imported, when the policy needs code of the record.
        StoreError: when the directory holds no finished policy.
        BadInput: when the seed is not in the group.
    """
    folder = Path(run_dir)
    try:
        config, spec = read_config(folder / "config.json"), read_policy(folder / "policies" / "policy.json")
        check(spec, {"kind": ("actor", "network", "method")}, str(folder / "policies" / "policy.json"))
    except StoreError as error:
        raise StoreError(f"{folder}: no finished policy here ({error}) Give a directory STORE/runs/<id>.") from None
    seeds = tuple(config["seeds"])
    if seed is not None and seed not in seeds:
        raise BadInput(f"{folder}: no seed {seed}; this run has seeds {list(seeds)}.")
    chosen = seeds if seed is None else (seed,)
    if spec["kind"] != "actor":  # its method's, or built for the task
        trust_configs([config], folder, trust_code, given)
    if spec["kind"] == "method":
        from rlnet_bench.runs.loop import build_learner

        return build_learner({**config, "seeds": list(chosen), "device": device})[1].policy()
    file, alone = folder / "policies" / f"{which}.safetensors", False
    if seed is not None and which == "best" and adopted_weights(folder, seed).exists():
        file, alone = adopted_weights(folder, seed), True
    try:
        weights = read_tensors(file, device)
    except StoreError as error:
        raise StoreError(f"{file}: no {which} weights here ({error})") from None
    if seed is not None and not alone:
        k = seeds.index(seed)
        weights = {n: w[k * len(w) // len(seeds) : (k + 1) * len(w) // len(seeds)] for n, w in weights.items()}
    return rebuild_policy(spec, weights, chosen, config["task"], device)


def rebuild_policy(
    spec: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    seeds: tuple[int, ...],
    task: str,
    device: str = "cpu",
) -> Policy:
    """A policy from its architecture and weights, into modules that we build."""
    if spec["kind"] == "network":
        from rlnet_bench.networks.policy import network_policy

        return network_policy(spec, weights, seeds, task_card(task), device)
    actor = Actor(ActorSpec.from_json(spec["actor"]), seeds, device)
    actor.load_state_dict(dict(weights))
    return ActorPolicy(actor)
