"""The process that :func:`charging.bulk.rate_file` starts: a job on standard input, its sums on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import msgspec

from charging.bulk.run import Failure, Job, Totals, rate_table
from charging.bulk.uses import BulkError, NotByColumns
from charging.tariffs import restore_version


def main() -> None:
    """Do one job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    answer: Totals | Failure
    try:
        with duckdb.connect(config={"memory_limit": job.memory, "threads": job.threads}) as database:
            version = restore_version(job.tariff, job.content)
            costs, totals = (Path(name) if name else None for name in (job.costs, job.totals))
            answer = rate_table(database, version, Path(job.source), costs, totals)
    except BulkError as error:
        answer = Failure(str(error), isinstance(error, NotByColumns))
    except duckdb.Error as error:
        answer = Failure(f"{job.source}: {error}", scalar=False)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
