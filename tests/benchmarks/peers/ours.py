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


def main(name: str, task: str, seeds: int, settings: dict[str, Any]) -> None:
    """Train for ever, in turns."""
    torch.set_num_threads(1)
    method = network_method(name)[0] if name.startswith("zoo/") else find_method(name)
    card, config = task_card(task), method.configure(settings)
    learner = method.learner(card, config, range(seeds), total_frames=10**12, training_reward="team_mean")
    turns = Turns()
    while True:
        learner.iterate()
        turns(learner.frames_per_iteration * seeds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]) if len(sys.argv) > 4 else {})
