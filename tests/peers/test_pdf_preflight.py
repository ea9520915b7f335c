"""Apache PDFBox Preflight finds nothing in the PDFs but what PDF/A-3 allows and PDF/A-1 does not.

Preflight knows PDF/A-1b only. PDF/A-3b differs in what it allows: a part number of 3, and embedded files. All else that
Preflight looks at (fonts, colours, metadata that agree, syntax of streams, output intent) holds for both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "charging" / "invoices"))

from invoice_samples import CUSTOMER, invoice, per_use
from msgspec.structs import replace

from charging.invoices.chart import use_by_day
from charging.invoices.model import Invoice
from charging.invoices.pdf import render_facturx, render_pdf

pytestmark = pytest.mark.peer

_JAVA = Path("/usr/share/java")
_JARS = ("preflight", "pdfbox2", "fontbox2", "xmpbox", "commons-logging", "javax.activation", "jaxb-api")
_OF_PART_3 = {"7.11.2"}
_OF_ATTACHMENTS = {"1.4.7", "1.2.9"}


def _findings(document: bytes, folder: Path) -> dict[str, str]:
    """Codes and texts of what Preflight finds."""
    java = shutil.which("java")
    missing = [name for name in _JARS if not (_JAVA / f"{name}.jar").exists()]
    if java is None or missing:
        pytest.skip("Preflight is not here: apt install libpdfbox2-java libactivation-java libjaxb-api-java")
    path = folder / "invoice.pdf"
    path.write_bytes(document)
    classes = ":".join(str(_JAVA / f"{name}.jar") for name in _JARS)
    run = subprocess.run(
        [java, "-cp", classes, "org.apache.pdfbox.preflight.Validator_A1b", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in run.stdout.splitlines() if line.strip()]
    assert said, run.stderr
    assert "valid PDF/A-1b file" in said[0]
    return dict(line.split(" : ", 1) for line in said[1:])


def _rich() -> Invoice:
    """Two subscribers, several scripts, a character that the typeface lacks, a chart, notes."""
    use = use_by_day(("Mailbox", "second", date(2026, 10, day), day * 7) for day in range(1, 20))
    lines = [per_use(1, subscriber="+49 171 1"), per_use(2, subscriber="+49 171 2", offer="千代田 \u00a0 Łódź")]
    return replace(invoice(*lines, notes=("Ελληνικά, кириллица & <Zeichen>",), customer=CUSTOMER), use=use)


def test_the_pdf_is_sound(tmp_path: Path) -> None:
    assert set(_findings(render_pdf(_rich()), tmp_path)) == _OF_PART_3


def test_the_hybrid_is_sound(tmp_path: Path) -> None:
    assert set(_findings(render_facturx(_rich()), tmp_path)) == _OF_PART_3 | _OF_ATTACHMENTS


def test_preflight_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = render_pdf(invoice(per_use())).replace(b"/OutputIntents", b"/OutputIntentz")
    assert set(_findings(broken, tmp_path)) > _OF_PART_3
