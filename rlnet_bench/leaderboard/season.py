"""Hidden evaluation seeds: nobody, maintainers included, knows beforehand which episodes score a submission.

A season opens with the sha256 of a secret, and ends with the secret. Key i of a policy on a task is the beginning of
HMAC-SHA256(secret, beacon value, digest, task, i): the *digest* is of weights and network alone, so that a changed
README draws nothing again; the *beacon*'s round is named before the submission freezes, so that our own choice draws
nothing again; and a digest that was evaluated in a season keeps the round of its first time, so that equal weights
replay equal episodes. A log, chained and written before each evaluation, says what was drawn.

Without a season the keys come from a public secret: practice, which ranks nothing.
"""

from __future__ import annotations

import hashlib
import hmac

PRACTICE = b"practice: anyone can draw these"


def draw(secret: bytes, beacon: bytes, digest: str, task: str, episodes: int) -> list[int]:
    """Environment seeds of one policy on one task, as signed 64-bit numbers.

    Args:
        secret: of the season.
        beacon: the value of its round.
        digest: of weights and network, see :func:`rlnet_bench.leaderboard.policies.digest_of`.
        task: its id.
        episodes: how many.
    """
    keys = []
    for i in range(episodes):
        total = hmac.new(secret, _message(beacon, digest.encode(), task.encode(), str(i).encode()), hashlib.sha256)
        keys.append(int.from_bytes(total.digest()[:8], "big", signed=True))
    return keys


def _message(*parts: bytes) -> bytes:
    """Parts, each after its length: no two lists of parts make one message."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def commitment(secret: bytes) -> str:
    """What is published when a season opens."""
    return hashlib.sha256(secret).hexdigest()


def practice(digest: str, task: str, episodes: int) -> list[int]:
    """Keys that anybody can draw."""
    return draw(PRACTICE, b"", digest, task, episodes)
