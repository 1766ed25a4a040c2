"""Tables, figures and HTML: they draw what :mod:`rlnet_bench.analysis` says. Imports without torch."""

from rlnet_bench.reports.build import build_report
from rlnet_bench.reports.page import fragment
from rlnet_bench.reports.tables import render_table

__all__ = ["build_report", "fragment", "render_table"]
