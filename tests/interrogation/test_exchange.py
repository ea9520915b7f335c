"""The rules of one interrogation."""

from __future__ import annotations

import pytest
from link_harness import PHONE, parts_of

from operator_server.interrogation.exchange import (
    Exchange,
    ExchangeFault,
    Step,
    assemble,
    changed_sections,
    check_section,
)
from signalling.configuration import SECTIONS, Configuration, section_digest
from signalling.messages import ConfigurationReport, Inquiry, SectionPart

REPORT = ConfigurationReport(PHONE.code(), dict(PHONE.digests()))
OTHER = Configuration(hardware={"model": "other"})


def answered() -> Exchange:
    exchange = Exchange(2, "logon")
    assert exchange.inquire() == Inquiry("logon")
    assert exchange.configuration(REPORT)
    return exchange


def test_sections_come_in_parts_and_make_the_configuration() -> None:
    exchange = answered()
    assert exchange.request(SECTIONS).sections == list(SECTIONS)
    complete = [exchange.part(part) for part in parts_of(PHONE, SECTIONS, size=7)]
    assert complete[-1] is True
    assert not any(complete[:-1])
    assert assemble(REPORT, exchange.fetched) == PHONE


@pytest.mark.parametrize(
    "report",
    [
        ConfigurationReport(bytes(32), REPORT.sections),
        ConfigurationReport(PHONE.code(), dict(OTHER.digests())),
        ConfigurationReport(PHONE.code(), {"hardware": PHONE.digests()["hardware"]}),
    ],
)
def test_a_code_that_is_not_the_digest_of_its_sections_is_refused(report: ConfigurationReport) -> None:
    known = {PHONE.code(): tuple(PHONE.digests()[name] for name in SECTIONS)}
    for seen in (None, known.get(report.code)):
        exchange = Exchange(2, "logon")
        exchange.inquire()
        with pytest.raises(ExchangeFault) as fault:
            exchange.configuration(report, seen)
        assert fault.value.code == "bad_configuration"


def test_the_same_answer_twice_is_no_fault_another_one_is() -> None:
    exchange = answered()
    assert exchange.configuration(REPORT) is False
    with pytest.raises(ExchangeFault):
        exchange.configuration(ConfigurationReport(OTHER.code(), dict(OTHER.digests())))


@pytest.mark.parametrize(
    "parts",
    [
        [SectionPart("hardware", 2, 2, b"x")],
        [SectionPart("hardware", 1, 2, b"x"), SectionPart("hardware", 1, 2, b"x")],
        [SectionPart("hardware", 1, 2, b"x"), SectionPart("hardware", 2, 3, b"x")],
        [SectionPart("hardware", 2, 1, b"x")],
        [SectionPart("hardware", 1, 1, b"")],
        [SectionPart("hardware", 1, 1, b"x"), SectionPart("hardware", 1, 1, b"x")],
        [SectionPart("firmware", 1, 1, b"x")],
        [SectionPart("hardware", part, 100, bytes(48 * 1024)) for part in range(1, 87)],
    ],
    ids=[
        "second first",
        "twice",
        "other count",
        "beyond count",
        "empty",
        "after the last",
        "not asked for",
        "too long",
    ],
)
def test_parts_out_of_order_count_or_size_are_faults(parts: list[SectionPart]) -> None:
    exchange = answered()
    exchange.request(["hardware", "base_software"])
    for part in parts[:-1]:
        exchange.part(part)
    with pytest.raises(ExchangeFault):
        exchange.part(parts[-1])


def test_parts_before_a_request_are_faults() -> None:
    with pytest.raises(ExchangeFault):
        answered().part(SectionPart("hardware", 1, 1, b"x"))


def test_a_section_has_its_digest_and_is_canonical() -> None:
    data = PHONE.canonical()["hardware"]
    digest = PHONE.digests()["hardware"]
    assert check_section("hardware", digest, data) == PHONE.hardware
    with pytest.raises(ExchangeFault):
        check_section("hardware", digest, data + b"\x00")
    with pytest.raises(ExchangeFault):
        check_section("hardware", section_digest("hardware", b"TGS1junk"), b"TGS1junk")


def test_what_changed_is_named_by_section() -> None:
    before = tuple(PHONE.digests()[name] for name in SECTIONS)
    after = (before[0], bytes(32), before[2], bytes(32))
    assert changed_sections(before, after) == "firmware,catalogue_items"
    assert changed_sections(before, before) == ""
    assert changed_sections(None, after) == ",".join(SECTIONS)


def test_an_interrogation_that_is_settled_takes_no_more() -> None:
    exchange = answered()
    exchange.request(["hardware"])
    exchange.settle()
    assert exchange.step is Step.SETTLED
    with pytest.raises(ExchangeFault):
        exchange.part(SectionPart("hardware", 1, 1, b"x"))
