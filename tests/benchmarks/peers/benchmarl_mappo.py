"""MAPPO on VMAS balance by BenchMARL, 600 environments, 60,000 frames a batch, 3 epochs x 15 minibatches, 256-256.

Runs in an environment of its own (``benchmarl.txt``). Nothing but training is on: no evaluation, logger or checkpoint.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.environments import VmasTask
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from turns import Turns

ENVS, FRAMES, EPOCHS, MINIBATCHES = 600, 60_000, 3, 15


class Told(Callback):  # type: ignore[misc]
    """Hands every finished iteration to :class:`Turns`."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()

    def on_train_end(self, training_td: Any, group: str) -> None:
        """The one group of agents has been trained."""
        self.turns(FRAMES)


def main() -> None:
    """Train for ever, in turns."""
    torch.set_num_threads(1)
    config = ExperimentConfig.get_from_yaml()
    config.on_policy_collected_frames_per_batch, config.on_policy_n_envs_per_worker = FRAMES, ENVS
    config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = EPOCHS, FRAMES // MINIBATCHES
    config.max_n_frames = 10**9
    config.evaluation = config.render = config.create_json = False
    config.loggers, config.save_folder = [], tempfile.mkdtemp()
    model = MlpConfig.get_from_yaml()
    assert list(model.num_cells) == [256, 256]
    Experiment(
        task=VmasTask.BALANCE.get_from_yaml(), algorithm_config=MappoConfig.get_from_yaml(), model_config=model,
        critic_model_config=model, seed=0, config=config, callbacks=[Told()],
    ).run()  # fmt: skip


if __name__ == "__main__":
    main()
