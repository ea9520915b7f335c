"""Rating by columns: a tariff version as one DuckDB query over a file of uses, equal to rating them one by one.

Only whole numbers are computed with, and divided by ``//``; DuckDB's decimal division would give a binary float.
"""

from charging.bulk.carried import Left, Portion, PortionRater
from charging.bulk.query import rating_query
from charging.bulk.run import Totals, rate_file
from charging.bulk.uses import BulkError, NotByColumns, Uses

__all__ = [
    "BulkError",
    "Left",
    "NotByColumns",
    "Portion",
    "PortionRater",
    "Totals",
    "Uses",
    "rate_file",
    "rating_query",
]
