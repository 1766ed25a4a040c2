"""The door for results that came from elsewhere: readers and writers of foreign formats. Imports without torch."""

from rlnet_bench.foreign.csv import parse_csv, read_csv, write_csv
from rlnet_bench.foreign.door import FORMATS, Options, read_foreign
from rlnet_bench.foreign.results import from_results, to_results
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable, Malformed, merged

__all__ = [
    "FORMATS",
    "CellFacts",
    "Evaluation",
    "ForeignTable",
    "Malformed",
    "Options",
    "from_results",
    "merged",
    "parse_csv",
    "read_csv",
    "read_foreign",
    "to_results",
    "write_csv",
]
