"""Our side of a comparison. Usage: ``ours.py METHOD TASK SEEDS [SETTINGS as JSON]``."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from turns import Turns

from rlnet_bench.envs.registry import task_card
from rlnet_bench.methods import find_method
from rlnet_bench.networks.method import network_method


def learner_of(name: str, task: str, seeds: str, settings: str = "{}") -> Any:
    """The learner that the arguments of this script name."""
    method = network_method(name)[0] if name.startswith("zoo/") else find_method(name)
    card, config = task_card(task), method.configure(json.loads(settings))
    return method.learner(card, config, range(int(seeds)), total_frames=10**12, training_reward="team_mean")


def main() -> None:
    """Train for ever, in turns."""
    torch.set_num_threads(1)
    learner, turns = learner_of(*sys.argv[1:]), Turns()
    while True:
        learner.iterate()
        turns(learner.frames_per_iteration * int(sys.argv[3]))


if __name__ == "__main__":
    main()
