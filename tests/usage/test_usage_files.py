"""Files of usage records: every form and compression, what is refused, and imports that are cut short."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import func, select
from usage_samples import COLUMNS, Shop, call, csv_file, json_file

from charging.ledger.verify import verify
from operator_server.billing.proof import verify_billing
from operator_server.store.engine import open_engine, sqlite_url
from operator_server.store.migrate import upgrade
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord
from operator_server.usage.reading import UnreadableFile

RECORDS = [call("a", 32), call("b", 57), call("c", 75, destination="+4930")]
PRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def taken(path: Path) -> dict[str, int]:
    shop = Shop()
    report = shop.importer.import_file(shop.engine, path, batch=2)
    assert (report.taken, report.refused, report.rejects) == (len(shop.nets()), 0, None)
    return shop.nets()


EXPECTED = {"a": 3600, "b": 6000, "c": 7800}


@pytest.mark.parametrize("compression", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_text_file_is_read_plain_and_compressed(tmp_path: Path, form: str, compression: str) -> None:
    path = (csv_file if form == "csv" else json_file)(tmp_path / f"u.{form}", *RECORDS)
    if compression:
        pressed = path.with_name(path.name + compression)
        pressed.write_bytes(PRESS[compression](path.read_bytes()))
        path = pressed
    assert taken(path) == EXPECTED


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_text_file_is_read_from_zstd(tmp_path: Path, form: str) -> None:
    plain = (csv_file if form == "csv" else json_file)(tmp_path / f"u.{form}", *RECORDS)
    lines = [(line,) for line in plain.read_text().splitlines()]
    with duckdb.connect() as database:
        database.execute("CREATE TABLE t (line VARCHAR)")
        database.executemany("INSERT INTO t VALUES (?)", lines)
        database.execute(
            f"COPY t TO '{plain}.zst' (FORMAT csv, COMPRESSION zstd, HEADER false, QUOTE '', DELIMITER '\x01')"
        )
    assert taken(Path(f"{plain}.zst")) == EXPECTED


@pytest.mark.parametrize("kind", ["TIMESTAMPTZ", "VARCHAR"])
def test_a_parquet_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "u.parquet"
    values = ", ".join(
        f"('{r['source']}', '{r['id']}', '{r['subscriber']}', '{r['tariff']}', {r['quantity']}, '{r['at']}'::{kind}, "
        f"'{r.get('destination', '')}')"
        for r in RECORDS
    )
    columns = COLUMNS.replace("at,", '"at",')
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT * FROM (VALUES {values}) t({columns})) TO '{path}' (FORMAT parquet)")
    assert taken(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("u.txt", b"", "its name must end in"),
        ("u.csv", b"a,b\n", "a header is needed"),
        ("u.csv", b"", "a header is needed"),
        ("u.csv.gz", b"no gzip", "cannot be read as csv.gz"),
        ("u.parquet", b"no parquet", "cannot be read as parquet"),
        ("u.jsonl.zst", b"no zstd", "cannot be read as jsonl.zst"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    shop = Shop()
    with pytest.raises(UnreadableFile, match=reason):
        shop.importer.import_file(shop.engine, path)
    assert not shop.charges()


def test_refused_rows_of_a_csv_are_mended_and_imported(tmp_path: Path) -> None:
    shop = Shop()
    path = csv_file(tmp_path / "u.csv", call("a"), call("b", -5), call("c", subscriber="nobody"))
    with path.open("a") as file:
        file.write("switch,d,acc-1\n")
    report = shop.importer.import_file(shop.engine, path)
    assert (report.taken, report.refused, report.rejects) == (1, 3, tmp_path / "u.csv.rejects.csv")
    assert report.rejects
    text = report.rejects.read_text()
    lines = text.splitlines()
    assert lines[0] == f"{COLUMNS},rejectedline,rejectedreason,rejectedtext"
    assert lines[1].startswith("switch,b,acc-1,calls,-5,")
    assert ',3,"quantity: ' in lines[1]
    assert "has 3 columns" in lines[3]
    mended = tmp_path / "mended.csv"
    mended.write_text("\n".join(lines[:3]).replace("-5", "57").replace("nobody", "acc-2") + "\n")
    assert shop.importer.import_file(shop.engine, mended).taken == 2
    assert shop.nets() == {"a": 3600, "b": 6000, "c": 3600}


def test_a_broken_line_of_a_csv_is_refused_by_itself_and_kept_as_it_stands(tmp_path: Path) -> None:
    shop = Shop()
    path = csv_file(tmp_path / "u.csv", call("a"), call("b"), call("c"))
    lines = path.read_bytes().splitlines()
    bad = [b'switch,"d"x,acc-1,calls,60,2026-10-05T09:30:00Z', b"switch,\xff,acc-1,calls,60,2026-10-05T09:30:00Z"]
    end = b'switch,"open,acc-1,calls,60,2026-10-05T09:30:00Z'
    path.write_bytes(b"\n".join([*lines[:2], *bad, *lines[2:], end]) + b"\n")
    report = shop.importer.import_file(shop.engine, path)
    assert (report.taken, report.refused) == (3, 3)
    assert report.rejects
    rejects = report.rejects.read_bytes()
    assert b'3,"is no CSV: \',\' expected after \'""\'","switch,""d""x,acc-1' in rejects
    assert b"\xff" in rejects
    assert b"is no CSV: unexpected end of data" in rejects
    assert shop.importer.import_file(shop.engine, report.rejects).refused == 3


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("u.csv", b"source,id,id,subscriber,tariff,quantity,at\n", "line 1: column id stands twice"),
        ("u.json", b'[\n {"id": "a"}\n]\n', "line 1: is the begin of one JSON array; write an object a line"),
    ],
)
def test_a_file_of_another_shape_is_refused_whole(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    shop = Shop()
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason):
        shop.importer.import_file(shop.engine, path)


def test_an_instant_of_parquet_that_no_calendar_has_is_refused_by_itself(tmp_path: Path) -> None:
    shop = Shop()
    path = tmp_path / "u.parquet"
    rows = " UNION ALL ".join(
        f"SELECT 'switch' AS source, '{id}' AS id, 'acc-1' AS subscriber, 'calls' AS tariff, 60 AS quantity,"
        f" '{at}'::TIMESTAMPTZ AS at"
        for id, at in (("a", "2026-10-05 09:30:00+00"), ("b", "290000-01-01 00:00:00+00"))
    )
    duckdb.sql(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    report = shop.importer.import_file(shop.engine, path)
    assert (report.taken, report.refused) == (1, 1)
    assert report.rejects
    assert "out of range" in report.rejects.read_text()


def test_refused_lines_of_json_are_mended_and_imported(tmp_path: Path) -> None:
    shop = Shop()
    path = json_file(tmp_path / "u.jsonl", call("a"), call("b", 1.5), "{broken", "[1]", '{"id": NaN}')
    report = shop.importer.import_file(shop.engine, path)
    assert (report.taken, report.refused) == (1, 4)
    assert report.rejects == tmp_path / "u.jsonl.rejects.jsonl"
    rejects = [json.loads(line) for line in report.rejects.read_text().splitlines()]
    assert [each["rejectedline"] for each in rejects] == [2, 3, 4, 5]
    assert rejects[1]["rejectedtext"] == "{broken"
    mended = json_file(tmp_path / "mended.jsonl", rejects[0] | {"quantity": 57})
    assert shop.importer.import_file(shop.engine, mended).taken == 1


def test_a_rejects_file_that_somebody_mends_is_not_written_over(tmp_path: Path) -> None:
    shop = Shop()
    path = csv_file(tmp_path / "u.csv", call("b", -5))
    first = shop.importer.import_file(shop.engine, path).rejects
    assert first
    assert shop.importer.import_file(shop.engine, path).rejects == first
    first.write_text("mended\n")
    assert shop.importer.import_file(shop.engine, path).rejects == tmp_path / "u.csv.rejects-2.csv"
    assert first.read_text() == "mended\n"


class Stopped(Exception):
    pass


def test_an_import_that_stops_half_way_goes_on_with_nothing_twice(tmp_path: Path) -> None:
    shop, whole = Shop(), Shop()
    records = [call(str(n), n * 7, tariff="data" if n % 2 else "calls") for n in range(40)]
    path = csv_file(tmp_path / "u.csv", *records, call("bad", -1))

    def stop(done: float) -> None:
        if len(shop.nets()) >= 21:
            raise Stopped

    with pytest.raises(Stopped):
        shop.importer.import_file(shop.engine, path, batch=7, progress=stop)
    assert not list(tmp_path.glob("*.rejects*"))
    report = shop.importer.import_file(shop.engine, path, batch=7)
    assert (report.taken, report.known, report.refused) == (19, 21, 1)
    whole.importer.import_file(whole.engine, path)
    assert shop.nets() == whole.nets()


CHILD = """
import sys
from pathlib import Path
from usage_samples import Shop
from operator_server.store.engine import open_engine
shop = Shop.__new__(Shop)
shop.engine = open_engine(sys.argv[1])
import usage_samples
from operator_server.usage.intake import Importer
from charging.tariffs import TariffBook
importer = Importer(TariffBook([usage_samples.CALLS, usage_samples.GIGABYTES]), usage_samples.SETTINGS,
                    usage_samples.SIGNING, usage_samples.SettableClock(usage_samples.NOW), fewest=10)
print("ready", flush=True)
importer.import_file(shop.engine, Path(sys.argv[2]), batch=25)
"""


def test_an_import_that_is_killed_again_and_again_charges_every_record_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.sqlite")
    upgrade(url)
    shop, whole = Shop(open_engine(url)), Shop()
    records = [call(str(n), n, tariff="data" if n % 2 else "calls") for n in range(1500)]
    path = csv_file(tmp_path / "u.csv", *records)
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent / "counting")])}
    kills = 0
    for number in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, str(path)], stdout=subprocess.PIPE, env=environment
        )  # fmt: skip
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.02 + 0.03 * number)
        kills += child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert kills
    before = _count(shop)
    report = shop.importer.import_file(shop.engine, path)
    assert (report.taken, report.known) == (1500 - before, before)
    whole.importer.import_file(whole.engine, path)
    assert shop.nets() == whole.nets()
    with shop.engine.connect() as connection:
        assert [*verify(connection), *verify_billing(connection)] == []


def _count(shop: Any) -> int:
    with shop.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table(UsageRecord))).scalar_one())
