"""Rating by columns: a tariff version as one DuckDB query over a file of uses, equal to rating them one by one.

Only whole numbers are computed with, and divided by ``//``; DuckDB's decimal division would give a binary float.
"""

from charging.bulk.query import BulkError, NotByColumns, Uses, rating_query
from charging.bulk.run import Totals, rate_file

__all__ = ["BulkError", "NotByColumns", "Totals", "Uses", "rate_file", "rating_query"]
