"""A network is exactly a NetworkSpec: YAML that says who hears whom, with learners of the catalogue at its vertices.

Allowed: any network that `rlnet-bench network check` takes, `place` included.
Disallowed: code at a vertex, another network than the one that was trained.
"""

from __future__ import annotations

from judged import Fresh, edit, says


def test_allowed(fresh: Fresh) -> None:
    assert says("networks_are_data", fresh("network")) == ""


def test_code_at_a_vertex(fresh: Fresh) -> None:
    folder = edit(fresh("network"), "period: 2", "period: 2, learner: 'method:evil.py:Evil'", "network.yaml")
    assert "names code, 'evil.py:Evil'" in says("networks_are_data", folder)


def test_another_network(fresh: Fresh) -> None:
    folder = edit(fresh("network"), "period: 2", "period: 3", "network.yaml")
    assert "is not the network of run" in says("networks_are_data", folder)
    assert "expected the network of network.yaml, found another one" in says("weights_fit", folder)
