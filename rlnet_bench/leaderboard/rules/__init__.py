"""The rules of the board, one function each; ``tests/leaderboard/rules/`` has a file for every one, with examples.

``files``   what a folder holds                      (a finding there: it is no submission)
``runs``    what its runs and policies must be       (a finding there: it stays at V0)
``listed``  what the board, old and new, must be
"""

from rlnet_bench.leaderboard.rules import files, listed, runs  # noqa: F401  (registers)
from rlnet_bench.leaderboard.rules.rule import BOARD_RULES, SUBMISSION_RULES, Finding, Listing

__all__ = ["BOARD_RULES", "SUBMISSION_RULES", "Finding", "Listing"]
