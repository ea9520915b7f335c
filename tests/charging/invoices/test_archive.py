"""PDFs have what PDF/A-3b asks for, as far as their structure shows it (PDFBox Preflight looks on in tests/peers)."""

import io
import re
from typing import Any

import pytest
from invoice_samples import invoice, per_use
from lxml import etree
from PIL import ImageCms
from pypdf import PdfReader

from charging.invoices.colour import srgb_profile
from charging.invoices.pdf import render_facturx, render_pdf

DOCUMENTS = {"pdf": render_pdf, "facturx": render_facturx}


@pytest.fixture(params=sorted(DOCUMENTS))
def document(request: pytest.FixtureRequest) -> bytes:
    lines = [per_use(at, subscriber=str(at % 3), offer="Karte <&> 千") for at in range(1, 40)]
    return DOCUMENTS[request.param](invoice(*lines))


def _catalog(document: bytes) -> Any:
    return PdfReader(io.BytesIO(document)).trailer["/Root"]


def test_metadata_say_what_it_is_and_agree_with_the_documents_own(document: bytes) -> None:
    stream = _catalog(document)["/Metadata"]
    assert "/Filter" not in stream
    packet = etree.fromstring(stream.get_data())
    said = {etree.QName(node).localname: (node.text or "").strip() for node in packet.iter() if len(node) == 0}
    assert (said["part"], said["conformance"]) == ("3", "B")
    info = PdfReader(io.BytesIO(document)).metadata
    assert info is not None
    assert (said["Producer"], said["CreatorTool"], said["Keywords"]) == (info.producer, info.creator, info["/Keywords"])
    assert said["CreateDate"] == "2026-11-02T00:00:00+00:00" == said["ModifyDate"]
    texts = [node.text for node in packet.iterfind(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")]
    assert [info.title, info.author, info.subject] == texts[:3]


def test_colours_have_a_meaning_and_nothing_is_transparent(document: bytes) -> None:
    (intent,) = _catalog(document)["/OutputIntents"]
    profile = intent["/DestOutputProfile"]
    assert (intent["/S"], profile["/N"]) == ("/GTS_PDFA1", 3)
    assert profile.get_data() == srgb_profile()
    for page in PdfReader(io.BytesIO(document)).pages:
        assert "/ExtGState" not in page["/Resources"]
        assert "/Group" not in page
        used = set(re.findall(rb"\b(rg|RG|g|G|k|K|cs|CS|sc|scn|gs)\b", page.get_contents().get_data()))
        assert used <= {b"rg", b"RG"}


def test_the_profile_is_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert ImageCms.getProfileDescription(profile).strip() == "sRGB IEC61966-2.1"
    from PIL import Image

    colours = Image.linear_gradient("L").convert("RGB")
    own = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"))
    assert own is not None
    assert max(abs(a - b) for a, b in zip(own.tobytes(), colours.tobytes(), strict=True)) <= 1


def test_every_stream_ends_on_a_line_of_its_own(document: bytes) -> None:
    seen = 0
    for start in re.finditer(rb">>\nstream\n", document):
        header = document[: start.start()].rsplit(b" obj\n", 1)[1]
        length = re.search(rb"/Length (\d+)", header)
        assert length is not None
        assert document[start.end() + int(length[1]) :].startswith(b"\nendstream\n")
        seen += 1
    assert seen > 5
    assert document.startswith(b"%PDF-1.7\n%")
    assert b"/Encrypt" not in document
    assert b"ASCII85" not in document
    assert re.search(rb"/ID\s*\[", document)


def test_it_can_be_listened_to(document: bytes) -> None:
    catalog = _catalog(document)
    assert catalog["/Lang"] == "de"
    assert str(catalog["/ViewerPreferences"]["/DisplayDocTitle"]) in ("True", "true")
    assert [entry["/Title"] for entry in PdfReader(io.BytesIO(document)).outline] == [
        "Anschluss 1",
        "Anschluss 2",
        "Anschluss 0",
    ]


def test_the_attachment_is_related_to_the_document() -> None:
    catalog = _catalog(render_facturx(invoice(per_use())))
    (file,) = catalog["/AF"]
    file = file.get_object()
    assert (file["/F"], file["/UF"], file["/AFRelationship"]) == ("factur-x.xml", "factur-x.xml", "/Alternative")
    embedded = file["/EF"]["/F"]
    assert embedded["/Subtype"] == "/text/xml"
    assert embedded["/Params"]["/Size"] == len(embedded.get_data())
    assert catalog["/Names"]["/EmbeddedFiles"]["/Names"][0] == "factur-x.xml"
    packet = catalog["/Metadata"].get_data().decode()
    assert "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in packet
    assert "<fx:DocumentFileName>factur-x.xml</fx:DocumentFileName>" in packet
