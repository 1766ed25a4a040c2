"""The one judge: what records say about methods. Reports draw what is decided here. Imports without torch."""

from rlnet_bench.analysis.estimates import Estimates, judge

__all__ = ["Estimates", "judge"]
