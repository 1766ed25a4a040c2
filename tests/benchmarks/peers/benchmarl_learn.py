"""IPPO or MAPPO of BenchMARL on VMAS balance, scored once at the end; leaves its own JSON file behind.

Runs in an environment of its own (``benchmarl.txt``). Usage: ``benchmarl_learn.py ALGORITHM SEED FOLDER SETTINGS``,
the last as JSON with our names; what is not named there is BenchMARL's default.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from benchmarl.algorithms import IppoConfig, MappoConfig
from benchmarl.environments import VmasTask
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

ALGORITHMS = {"ippo": IppoConfig, "mappo": MappoConfig}


def main(name: str, seed: int, folder: str, s: dict) -> None:
    """Train, and evaluate after the last update (BenchMARL also does after the first)."""
    torch.set_num_threads(1)
    config, algorithm, model = (kind.get_from_yaml() for kind in (ExperimentConfig, ALGORITHMS[name], MlpConfig))
    rollout = s["num_envs"] * s["rollout_steps"]
    config.on_policy_n_envs_per_worker, config.on_policy_collected_frames_per_batch = s["num_envs"], rollout
    config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = s["epochs"], rollout // s["minibatches"]
    config.gamma, config.lr, config.clip_grad_val = s["gamma"], s["learning_rate"], s["max_grad_norm"]
    config.adam_eps, config.max_n_frames, config.evaluation_interval = 1e-5, s["frames"], s["frames"]
    config.evaluation_episodes, config.render, config.loggers = s["episodes"], False, []
    algorithm.lmbda, algorithm.clip_epsilon, algorithm.entropy_coef = s["gae_lambda"], s["clip"], s["entropy_weight"]
    model.num_cells = s["hidden"]
    config.save_folder = folder
    Path(folder).mkdir(parents=True, exist_ok=True)
    Experiment(
        task=VmasTask.BALANCE.get_from_yaml(), algorithm_config=algorithm, model_config=model,
        critic_model_config=model, seed=seed, config=config,
    ).run()  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
