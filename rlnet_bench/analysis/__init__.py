"""The one judge: what records say about methods. Reports draw what is decided here. Imports without torch."""

from rlnet_bench.analysis.estimates import Estimates, estimate_all

__all__ = ["Estimates", "estimate_all"]
