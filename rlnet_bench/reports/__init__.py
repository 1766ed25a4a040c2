"""Tables, figures and HTML: pure functions of records and estimates. Imports without torch."""

from rlnet_bench.reports.build import build_report
from rlnet_bench.reports.estimates import Estimates, estimate_all
from rlnet_bench.reports.tables import render_table

__all__ = ["Estimates", "build_report", "estimate_all", "render_table"]
