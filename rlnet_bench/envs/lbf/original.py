"""lbforaging's own environment, built from a card.

For the differential tests, the speed comparison and the reference referee; nothing that trains or
evaluates needs it. Importing this module does not import lbforaging.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import MissingExtra

_OURS = ("masked", "clean")


def original(card: TaskCard) -> Any:
    """A new ``ForagingEnv`` with the card's arguments.

    lbforaging 2.0.0 declares a wrong space for grid observations and crashes on it; the environment
    returned here declares the right one and is otherwise untouched.

    Raises:
        MissingExtra: lbforaging is not installed.
    """
    os.environ.setdefault("PYGLET_HEADLESS", "true")  # read by pyglet when it is first imported
    try:
        import gymnasium
        from lbforaging.foraging.environment import ForagingEnv
    except ImportError:
        raise MissingExtra("lbforaging", "lbf", f"the original of {card.id}") from None

    class Original(ForagingEnv):
        def _get_observation_space(self) -> Any:
            if not self._grid_observation:
                return super()._get_observation_space()
            width = 2 * self.sight + 1
            return gymnasium.spaces.Box(0.0, 255.0, (3, width, width), np.float32)

    arguments = {k: v for k, v in card.constructor.items() if k not in _OURS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of the space's bounds
        return Original(**arguments)
