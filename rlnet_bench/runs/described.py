"""What a record says of its task and its method, so that a reader needs none of their code. Imports without torch.

A description stands beside the configuration, never in it, and no run id depends on it: ``described`` of a group in a
plan or a publication, ``description.json`` in a run directory. Where the catalogue knows the task it wins, and the
recorded ``task_hash`` must be that of its card; a described card must have that digest, too, so that nobody brings a
floor of his own. What the digest does not cover (reference points) is not carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rlnet_bench import trust
from rlnet_bench.envs.card import TaskCard, card_digest
from rlnet_bench.envs.registry import is_catalogued, task_card
from rlnet_bench.errors import BadInput, Malformed, RlnetError, UnknownName
from rlnet_bench.learning.spaces import space_of
from rlnet_bench.methods import Method, catalogued
from rlnet_bench.reading.files import Absent
from rlnet_bench.reading.names import checked_name
from rlnet_bench.reading.plain import read_json
from rlnet_bench.reading.shapes import Maybe, check
from rlnet_bench.trust import Wanted
from rlnet_bench.vocabulary import ActionKind, TrainingClass

FILE = "description.json"
BOUNDS = Maybe([[float]])
CARD = {
    "id": checked_name, "family": str, "faithful_to": str, "description": str, "constructor": dict, "agents": [str],
    "horizon": int, "action_kind": get_args(ActionKind), "action_sizes": [int], "observation_sizes": [int],
    "state_size": int, "state": ("concat", "full"), "reward_scale": str, "shared_reward": bool, "success_metric": str,
    "floor": float, "action_low?": float, "action_high?": float, "action_lows?": BOUNDS, "action_highs?": BOUNDS,
    "action_factors?": Maybe([int]), "masked?": bool, "channel?": bool, "can_terminate?": bool,
    "batch_invariant?": bool, "resumable?": bool, "evaluation_episodes?": int, "absolute_episodes?": int,
    "deviations?": [str], "success_description?": str,
}  # fmt: skip
METHOD = {
    "id": checked_name, "summary": str, "training": get_args(TrainingClass), "trains": bool, "citation": str,
}  # fmt: skip
CODE = {"name": str, "file": str, "sha256": str}
DESCRIBED = {"method?": METHOD, "task?": CARD, "code?": [CODE]}


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method without its code."""

    id: str
    summary: str = ""
    training: str = "unknown"  # a :data:`TrainingClass`, where it is known
    trains: bool = True
    citation: str = ""
    algorithms: str = ""
    """Its family of algorithms (:mod:`rlnet_bench.learning.spaces`), where it is known."""


def describe(config: Mapping[str, Any], card: TaskCard, method: type[Method], written: str) -> dict[str, Any]:
    """The description of a group, when it is planned.

    Args:
        config: its resolved configuration.
        card: of its task.
        method: its method.
        written: the method as the suite names it, with the folder of a file.
    """
    training = method.training_class(method.configure(config["settings"]))
    said: dict[str, Any] = {
        "method": {
            "id": config["method"] if method.source_hash else method.id, "summary": method.summary,
            "training": training, "trains": method.capabilities.trains, "citation": method.citation,
        }
    }  # fmt: skip
    if not is_catalogued(card.id):
        said["task"] = card.to_json()
    found = []
    for want in code_of(config):
        as_written = written if want.name == config["method"] else want.name
        code = trust.demand(as_written, want.sha256)
        found.append({"name": want.name, "file": str(trust.target(as_written)), "sha256": code.sha256})
    return {**said, **({"code": found} if found else {})}


def code_of(config: Mapping[str, Any], described: Mapping[str, Any] | None = None) -> list[Wanted]:
    """The code that a configuration names: at its task, its method, the vertices of its network."""
    names = {config["task"]: ""}
    if config.get("network") is None:
        names[config["method"]] = config.get("method_source", "")
    names |= dict.fromkeys(trust.at_vertices(config.get("network")), "")
    said = {item["name"]: item for item in (described or {}).get("code", ())}
    found = []
    for name, digest in names.items():
        if trust.target(name) is not None:
            item = said.get(name, {})
            found.append(Wanted(name, item.get("sha256", "") or digest, item.get("file", "")))
    return found


# -- reading -----------------------------------------------------------------------------------------------


def read_description(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The description in a run directory; empty for records of older versions.

    Raises:
        Malformed: as :func:`check_described`.
    """
    try:
        found = read_json(folder / FILE)
    except Absent:
        return {}
    check_described(found, config, str(folder / FILE))
    return dict(found)


def check_described(found: Any, config: Mapping[str, Any], where: str) -> None:
    """Raise Malformed for a description that is none, or not that of the configuration."""
    check(found, DESCRIBED, where)
    if "task" in found:
        digest, card = config.get("task_hash"), found["task"]
        if card["id"] != config["task"] or not card["agents"]:
            raise Malformed(f"{where}: task", f"the card of {config['task']}", card["id"])
        if card_digest(card) != digest:
            raise Malformed(f"{where}: task", f"the card with the digest {digest}", card_digest(card))
    for item in found.get("code", ()):
        source = config.get("method_source", "") if item["name"] == config["method"] else ""
        if not item["sha256"].startswith(source):
            raise Malformed(f"{where}: code", f"the sha256 {source}... of the configuration", item["sha256"])


def card_of(config: Mapping[str, Any], described: Mapping[str, Any]) -> TaskCard | None:
    """The card of a recorded task: the catalogue's, else the described one; None when nothing is known of it.

    No code is imported. The description has passed :func:`check_described`.
    """
    if is_catalogued(config["task"]):
        try:
            return task_card(config["task"])
        except (UnknownName, BadInput):  # a later version's
            pass
    return TaskCard.from_json(described["task"]) if "task" in described else None


def other_task(config: Mapping[str, Any], card: TaskCard | None) -> str | None:
    """A sentence where a record was made on another task than the card of the same name says, else None."""
    digest = config.get("task_hash")
    if card is None or digest is None or card.hash() == digest:
        return None
    return (
        f"it ran on another version of {config['task']}: its card had the digest {digest[:16]}, that of this package "
        f"has {card.hash()[:16]}; its numbers belong to another task."
    )


def facts_of(config: Mapping[str, Any], described: Mapping[str, Any]) -> MethodFacts:
    """What is known of a recorded method: by the catalogue, else by the description. No code is imported.

    Stored settings need not be valid today: what they decide is then taken from the description.
    """
    said = described.get("method", {})
    method = _known(config)
    if method is None:
        named = config["method"] if config.get("network") is None else f"network/{config['network'].get('name', '?')}"
        return MethodFacts(**said) if said else MethodFacts(named, trains=config["frames"] > 0)
    try:
        training: str = method.training_class(method.configure(config["settings"]))
    except RlnetError:
        training = said.get("training", method.training)
    space = space_of(method.Config)
    family = space.family if space else ""
    return MethodFacts(method.id, method.summary, training, method.capabilities.trains, method.citation, family)


def _known(config: Mapping[str, Any]) -> type[Method] | None:
    if config.get("network") is None:
        return None if trust.target(config["method"]) is not None else catalogued(config["method"])
    from rlnet_bench.networks.method import method_from_json

    try:
        return method_from_json(config["network"])  # data
    except RlnetError:  # the language has changed
        return None
