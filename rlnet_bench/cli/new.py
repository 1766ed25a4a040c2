"""``rlnet-bench new``: files to start from, each of which passes its own check."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, print_json
from rlnet_bench.errors import BadInput
from rlnet_bench.methods import method_ids


class Kind(StrEnum):
    """What can be started."""

    suite = "suite"
    method = "method"
    task = "task"
    network = "network"
    submission = "submission"


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(new)


def new(
    kind: Kind,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and dashes.")],
    out: Annotated[Path, typer.Option("--out", help="Directory.")] = Path("."),
    json: JsonFlag = False,
) -> None:
    """Write a small working file, and say how to check and how to run it."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise BadInput(f"name {name!r}: expected lower-case letters, digits and dashes, starting with a letter.")
    suffix = "py" if kind in (Kind.method, Kind.task) else "yaml"
    stem = name.replace("-", "_") if suffix == "py" else name
    path = out / f"{stem}.{suffix}"
    if kind is Kind.submission:
        out = out / name
        path = out / "submission.yaml"
    if kind is Kind.method and name in method_ids():
        raise BadInput(f"method {name!r}: there is a method of this name (`rlnet-bench list methods`); choose another.")
    if path.exists():
        raise BadInput(f"{path}: is there already; choose another name or --out.")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    text, *hints = _TEMPLATES[kind]
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(name=name, class_name=class_name, title=name.replace("-", " ")), encoding="utf-8")
    check, command = (f"rlnet-bench {h.format(path=path, folder=out, class_name=class_name)}" for h in hints)
    if json:
        print_json({"path": str(path), "check": check, "try": command})
    else:
        print(f"written: {path}\ncheck: {check}\ntry: {command}")


_SUITE = """\
name: {name}
version: 1
tasks: [mpe/simple_spread-discrete-v1]
methods: [random, uncoordinated, ippo, mappo]
seeds: 5
budget: {{frames: 100_000}}
"""

_METHOD = '''\
"""{class_name}: independent PPO with a penalty on change instead of clipping; a start for a method of your own."""

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.methods import Method, find_method, register


class {class_name}Config(PpoConfig):
    """The only home of this method's defaults."""

    penalty: float = 1.0


@register("{name}", version=1, summary="PPO with a penalty", Config={class_name}Config, training="independent")
class {class_name}(Method):
    """Raise ``version`` whenever the numbers change."""

    @classmethod
    def learner_class(cls):
        """The algorithm; heavy imports stay inside, so that planning is fast."""
        from rlnet_bench.learning.ppo import Loss, half_squared_error, is_clipped

        class {class_name}Learner(find_method("ippo").learner_class()):
            def loss(self, batch):
                """What is minimised: the objective of Schulman et al. 2017, eq. 8, and the critic's error."""
                config = self.config
                log_p, entropy = self.actor.evaluate(batch.rows)
                change = log_p - batch["log_p"]
                divergence = 0.5 * change.square()  # of the policy from the one that acted, to second order
                gain = change.exp() * batch["advantage"] - config.penalty * divergence
                policy, bonus = -batch.acting_mean(gain), batch.acting_mean(entropy)
                value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))
                total = policy + config.value_weight * value - config.entropy_weight * bonus
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(change.exp(), config.clip)))

        return {class_name}Learner
'''

_TASK = '''\
"""A PettingZoo ParallelEnv to start from: two agents must name the same of three numbers."""

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv


class {class_name}(ParallelEnv):
    """Both see a number; each is paid when both say it."""

    metadata = {{"name": "{name}"}}
    max_steps = 10

    def __init__(self):
        self.possible_agents = ["a", "b"]
        self.observation_spaces = {{a: Box(0.0, 1.0, (3,), np.float32) for a in self.possible_agents}}
        self.action_spaces = {{a: Discrete(3) for a in self.possible_agents}}
        self.agents = []

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def _observe(self):
        self.number = int(self.rng.integers(3))
        return {{a: np.eye(3, dtype=np.float32)[self.number] for a in self.agents}}

    def reset(self, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.agents, self.step_count = list(self.possible_agents), 0
        return self._observe(), {{a: {{}} for a in self.agents}}

    def step(self, actions):
        reward = float(all(actions[a] == self.number for a in self.agents))
        self.step_count += 1
        over = self.step_count >= self.max_steps
        agents = self.agents
        observations = self._observe()
        if over:
            self.agents = []
        return (
            observations,
            dict.fromkeys(agents, reward),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {{a: {{"success": reward}} for a in agents}},
        )


def make():
    return {class_name}()
'''

_NETWORK = """\
name: {name}
vertices:
  manager: {{action: {{continuous: 8}}, period: 5, message: identity}}
  motor: {{per_agent: true}}
edges:
  - manager -> motor
defaults: {{learner: ppo, hidden: [64, 64], gradient: stop, reward: mean}}
"""

_SUBMISSION = """\
# What only you know. `rlnet-bench submit pack STORE {name}` adds the rest from a run store: tasks, seeds, launches,
# claims, policies, records. docs/submitting.md explains every key.
method: {name}          # the row on the board, listed once per version, for ever
version: 1
title: {title}
description: ""
submitter: {{id: my-lab, name: My Lab}}
license: MIT
# paper: https://...
# code: https://...
tuning: untuned          # or {{trials: 20, seeds: 3, tasks: [mpe/simple_spread-discrete-v1], space: "what was tried"}}
"""

# What is written, what checks it, what to try with it.
_TEMPLATES = {
    Kind.suite: (_SUITE, "plan {path}", "run {path}"),
    Kind.method: (
        _METHOD,
        "check method {path}:{class_name}",
        "run quick --set budget.frames=50000 --method {path}:{class_name}",
    ),
    Kind.task: (
        _TASK,
        "check task {path}:make",
        "run quick --set budget.frames=20000 --tasks {path}:make --methods random,ippo",
    ),
    Kind.network: (
        _NETWORK,
        "network check {path}",
        "run quick --set budget.frames=50000 --network {path} --methods ippo",
    ),
    Kind.submission: (_SUBMISSION, "submit check {folder}", "submit pack STORE {folder}"),
}
