"""PDF that can be kept: PDF/A-3b (ISO 19005-3), with a file embedded where there is one.

What ReportLab does not do by itself: metadata as XMP that agree with the document's own, an output intent (sRGB, so
that colours mean something), an end of line before each ``endstream``, the version of PDF, and attachments with their
relation to the document. Title and language are set, and the title is what a reader shows, for people who listen to
the document.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from datetime import date
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import facturx
import msgspec
from lxml import etree
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfdoc import (
    PDFArray,
    PDFCatalog,
    PDFDictionary,
    PDFDocument,
    PDFName,
    PDFStream,
    PDFString,
)
from reportlab.pdfgen.canvas import Canvas

from .colour import srgb_profile

_CREATOR = "Tollgate"
_PRODUCER = "ReportLab"
_KEYWORDS = "invoice"
_FACTUR_X = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_FIELDS = ("title", "author", "subject", "timestamp")


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file within the PDF. ``relationship``: Data, Source, Alternative or Supplement (ISO 19005-3, annex E)."""

    name: str
    content: bytes
    mime_type: str
    description: str
    relationship: str


class ArchiveCanvas(Canvas):  # type: ignore[misc]  # ReportLab has no types
    """A canvas whose document is PDF/A-3b, if what is drawn has embedded fonts, RGB colours and no transparency.

    ``factur_x``: that attachment is the XML of a Factur-X invoice, profile EN 16931. The same input gives the same
    bytes; ``day`` is the day it says it was made.
    """

    def __init__(
        self,
        out: io.BytesIO,
        *,
        font: str,
        language: str,
        title: str,
        author: str,
        subject: str,
        day: date,
        factur_x: Attachment | None = None,
    ) -> None:
        super().__init__(
            out, pagesize=A4, invariant=1, pageCompression=1, initialFontName=font, lang=language, pdfVersion=(1, 7)
        )
        title, author, subject = (_printable(text) for text in (title, author, subject))
        document = self._doc
        document.__class__ = _Document
        document.Catalog.__class__ = _Catalog
        self.setTitle(title)
        self.setAuthor(author)
        self.setSubject(subject)
        self.setCreator(_CREATOR)
        self.setProducer(_PRODUCER)
        self.setKeywords(_KEYWORDS)
        self.setDateFormatter(lambda *_: f"D:{day:%Y%m%d}000000Z")
        self.setViewerPreference("DisplayDocTitle", "true")
        catalog = document.Catalog
        catalog.Metadata = _Stream(
            _dictionary(Type=PDFName("Metadata"), Subtype=PDFName("XML")),
            _xmp(
                factur_x is not None,
                title=title,
                author=author,
                subject=subject,
                timestamp=f"{day:%Y-%m-%d}T00:00:00+00:00",
            ),
        )
        catalog.OutputIntents = PDFArray([self._output_intent()])
        if factur_x is not None:
            self._attach(factur_x)

    def _output_intent(self) -> PDFDictionary:
        profile = _Stream(_dictionary(N=3, Filter=PDFArray([PDFName("FlateDecode")])), _profile())
        return _dictionary(
            Type=PDFName("OutputIntent"),
            S=PDFName("GTS_PDFA1"),
            OutputConditionIdentifier=PDFString("sRGB"),
            Info=PDFString("sRGB IEC61966-2.1"),
            DestOutputProfile=self._doc.Reference(profile),
        )

    def _attach(self, attachment: Attachment) -> None:
        reference = self._doc.Reference
        file = _Stream(
            _dictionary(
                Type=PDFName("EmbeddedFile"),
                Subtype="/" + attachment.mime_type.replace("/", "#2F"),
                Params=_dictionary(
                    Size=len(attachment.content),
                    CheckSum=PDFString(hashlib.md5(attachment.content, usedforsecurity=False).digest()),
                    ModDate=PDFString(self._doc.info._dateFormatter()),
                ),
            ),
            attachment.content,
            [_Deflate],
        )
        embedded = reference(file)
        specification = reference(
            _dictionary(
                Type=PDFName("Filespec"),
                F=PDFString(attachment.name),
                UF=PDFString(attachment.name),
                Desc=PDFString(attachment.description),
                AFRelationship=PDFName(attachment.relationship),
                EF=_dictionary(F=embedded, UF=embedded),
            )
        )
        catalog = self._doc.Catalog
        catalog.AF = PDFArray([specification])
        catalog.Names = _dictionary(
            EmbeddedFiles=_dictionary(Names=PDFArray([PDFString(attachment.name), specification]))
        )


class _Catalog(PDFCatalog):  # type: ignore[misc]  # ReportLab has no types
    __NoDefault__ = [*PDFCatalog.__NoDefault__, "OutputIntents", "AF"]


class _Document(PDFDocument):  # type: ignore[misc]  # ReportLab has no types
    def Reference(self, obj: Any, name: str | None = None) -> Any:
        # Every object of the file comes by here before it is written.
        if type(obj) is PDFStream:
            obj.__class__ = _Stream
        return super().Reference(obj, name)


class _Deflate:
    pdfname = "FlateDecode"

    @staticmethod
    def encode(content: bytes | str) -> bytes:
        return zlib.compress(content if isinstance(content, bytes) else content.encode())


class _Stream(PDFStream):  # type: ignore[misc]  # ReportLab has no types
    """A stream without ASCII85, with an end of line before ``endstream`` that its length does not count."""

    filters: list[type[_Deflate]] | None

    def format(self, document: PDFDocument) -> bytes:
        self.filters = [_Deflate] if self.filters else None
        data: bytes = super().format(document)
        return data.removesuffix(b"endstream\n") + b"\nendstream\n"


def _dictionary(**entries: Any) -> PDFDictionary:
    return PDFDictionary(entries)


@cache
def _profile() -> bytes:
    return zlib.compress(srgb_profile(), 9)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _xmp(factur_x: bool, **values: str) -> bytes:
    text = _xmp_template(factur_x)
    for name in _FIELDS:
        text = text.replace(_mark(name), escape(values[name]))
    return text.encode()


def _mark(name: str) -> str:
    return f"__{name}__"


@cache
def _xmp_template(factur_x: bool) -> str:
    fields = {name: _mark(name) for name in _FIELDS}
    fields |= {"pdfa3_flavor": "B", "producer": _PRODUCER, "creator_tool": _CREATOR}
    if factur_x:
        fields |= {
            "urn": _FACTUR_X,
            "documenttype": "INVOICE",
            "xml_filename": "factur-x.xml",
            "version": "1.0",
            "xmp_level": "EN 16931",
        }
    packet = facturx.generate_xmp_object(fields)
    namespaces = {name: uri for name, uri in packet.nsmap.items() if name not in ("x", "rdf")}
    text = etree.tostring(packet, encoding="unicode", pretty_print=True)
    # XMP wants to know what is described, and checkers look for the namespaces there.
    about = " ".join(['rdf:about=""', *(f'xmlns:{name}="{uri}"' for name, uri in namespaces.items())])
    text = text.replace("</pdf:Producer>", f"</pdf:Producer>\n      <pdf:Keywords>{_KEYWORDS}</pdf:Keywords>")
    text = text.replace("<rdf:Description>", f"<rdf:Description {about}>")
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{text}<?xpacket end="w"?>'
