"""No two trained policies are equal: neither two seeds of a submission, nor one that somebody else has listed.

Allowed: two seeds that learned the same behaviour with other weights.
Disallowed: a lucky run submitted under five seeds; somebody else's weights under another name.
"""

from __future__ import annotations

import shutil

from judged import SPREAD, Fresh, MadeUp, entry, says, score
from safetensors.torch import load_file, save_file

from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.policies import digests


def test_allowed(fresh: Fresh) -> None:
    assert says("trained_policies_differ", fresh()) == ""


def test_one_run_under_two_seeds(fresh: Fresh) -> None:
    folder = fresh()
    first, second = sorted(folder.glob("policies/*/*.safetensors"))
    shutil.copy(first, second)
    assert "seeds 0 and 1 have the same weights" in says("trained_policies_differ", folder)


def test_the_same_under_other_metadata(fresh: Fresh) -> None:
    folder = fresh()
    first, second = sorted(folder.glob("policies/*/*.safetensors"))
    save_file(load_file(first), second, metadata={"name": "another"})
    assert "seeds 0 and 1 have the same weights" in says("trained_policies_differ", folder)


def test_weights_of_somebody_else(fresh: Fresh) -> None:
    folder = fresh()
    digest = digests(Folder.at(folder), SPREAD)[1]
    theirs = MadeUp(entry(scores=(score(0, weights=digest[:16]),)))
    assert "seed 1 has the weights of theirs, which somebody listed" in says("trained_policies_differ", folder, theirs)
    ours = MadeUp(entry(submitter="my-lab", scores=(score(0, weights=digest[:16]),)))
    assert says("trained_policies_differ", folder, ours) == ""
