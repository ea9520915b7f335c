"""Bank statements: camt.053 of ISO 20022, versions 001.02 to 001.13, read into entries.

A file is read as a whole or refused, with line and element. No entity is resolved, nothing is fetched, and the sums
are checked: opening balance and booked entries make the closing balance, details of a batch make its entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256

from lxml import etree

from signalling.money import MoneyError, decimal_micros, format_micros, minor_unit

_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(0[2-9]|1[0-3])\Z")
_LONGEST_TEXT = 2_000


class StatementError(ValueError):
    """A file that is no statement, or one that cannot be trusted; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of a statement. ``amount`` micros: above zero came in, below went out.

    ``key`` names it once and for all. ``returned``: the reason code of a payment that came back, ``reversal`` where the
    bank calls the entry one. ``references``: what names a debt, structured ones first; ``text``: free text.
    """

    key: str
    amount: int
    currency: str
    booked_on: date
    returned: str = ""
    reversal: bool = False
    references: tuple[str, ...] = ()
    text: str = ""
    end_to_end: str = ""
    batch: str = ""
    mandate: str = ""
    payer: str = ""
    payer_iban: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of one account; ``id`` names it once and for all."""

    id: str
    name: str
    iban: str
    currency: str
    entries: tuple[Entry, ...]


def read_statements(content: bytes, most_bytes: int = 20_000_000) -> list[Statement]:
    """The statements of a file. Raises :class:`StatementError`; then nothing of it is to be used."""
    if len(content) > most_bytes:
        raise StatementError(f"the file has {len(content)} bytes; at most {most_bytes} are read")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise StatementError(f"line {error.lineno}: not well-formed XML: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise StatementError("line 1: a document type is declared; a bank statement has none")
    name = etree.QName(root)
    if name.localname != "Document" or not _NAMESPACE.match(name.namespace or ""):
        raise StatementError(f"line {root.sourceline}: {root.tag} is no camt.053 statement of version 001.02 to 001.13")
    found = [_statement(node) for node in _all(root, "BkToCstmrStmt/Stmt")]
    if not found:
        raise StatementError(f"line {root.sourceline}: /Document: it has no BkToCstmrStmt/Stmt")
    return found


def _statement(node: etree._Element) -> Statement:
    iban = _need(node, "Acct/Id/IBAN")
    name = _need(node, "Id")
    balances = {_text(each, "Tp/CdOrPrtry/Cd"): each for each in _all(node, "Bal")}
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    total = 0
    for number, entry in enumerate(_all(node, "Ntry"), 1):
        if (_text(entry, "Sts/Cd") or _text(entry, "Sts")) != "BOOK":
            continue
        whole = _signed(entry)
        total += whole
        fallback = f"{iban} {name} {number}"
        entries += _details(entry, whole, iban, fallback, seen)
    currency = _text(node, "Acct/Ccy") or (entries[0].currency if entries else "")
    opening, closing = balances.get("OPBD", balances.get("PRCD")), balances.get("CLBD")
    if opening is not None and closing is not None:
        expected = _signed(opening) + total
        if expected != _signed(closing):
            raise _fault(
                closing,
                f"the closing balance is {_text(closing, 'Amt')}, but opening balance and entries make "
                f"{format_micros(expected, _currency(closing))}; the file is not complete",
            )
    return Statement(sha256(f"{iban}\n{name}".encode()).hexdigest()[:32], name, iban, currency, tuple(entries))


def _details(entry: etree._Element, whole: int, iban: str, fallback: str, seen: dict[str, int]) -> Iterator[Entry]:
    details = _all(entry, "NtryDtls/TxDtls")
    sign = -1 if whole < 0 else 1
    if len(details) <= 1:
        amounts = [whole]
    else:
        amounts = [sign * amount for amount in map(_detail_amount, details) if amount is not None]
        if len(amounts) != len(details):
            # The bank booked a batch as one sum; its details have no amounts of their own.
            details, amounts = details[:0], [whole]
        elif sum(amounts) != whole:
            raise _fault(entry, "the amounts of its details do not sum to the amount of the entry")
    booked = _day(entry)
    for place, amount in enumerate(amounts):
        detail = details[place] if details else entry
        bank = _text(detail, "Refs/AcctSvcrRef") or (f"{ref} {place}" if (ref := _text(entry, "AcctSvcrRef")) else "")
        base = f"{iban}\n{bank}\n{booked}\n{amount}" if bank else f"{fallback} {place}"
        # Banks repeat a reference within a statement: each repetition is an entry of its own.
        seen[base] = seen.get(base, 0) + 1
        key = sha256(f"{base}\n{seen[base]}".encode()).hexdigest()[:32]
        side = "Dbtr" if amount > 0 else "Cdtr"
        structured = [_plain(each) for each in _all(detail, "RmtInf/Strd/CdtrRefInf/Ref")]
        documents = [_plain(each) for each in _all(detail, "RmtInf/Strd/RfrdDocInf/Nb")]
        free = [_plain(each) for each in _all(detail, "RmtInf/Ustrd")]
        extra = [_text(detail, "AddtlTxInf"), _text(entry, "AddtlNtryInf")]
        yield Entry(
            key=key, amount=amount, currency=_currency(entry), booked_on=booked,
            returned=_text(detail, "RtrInf/Rsn/Cd") or _text(detail, "RtrInf/Rsn/Prtry") or _return_of(entry),
            reversal=_text(entry, "RvslInd").lower() in ("true", "1"),
            references=tuple(each for each in [*structured, *documents] if each),
            text=" ".join(each for each in [*free, *extra] if each)[:_LONGEST_TEXT],
            end_to_end=_told(_text(detail, "Refs/EndToEndId")),
            batch=_text(detail, "Refs/MsgId") or _text(detail, "Refs/PmtInfId") or _batch(entry),
            mandate=_told(_text(detail, "Refs/MndtId")),
            payer=_text(detail, f"RltdPties/{side}/Nm") or _text(detail, f"RltdPties/{side}/Pty/Nm"),
            payer_iban=_text(detail, f"RltdPties/{side}Acct/Id/IBAN"), line=int(detail.sourceline or 0),
        )  # fmt: skip


def _batch(entry: etree._Element) -> str:
    return _text(entry, "NtryDtls/Btch/MsgId") or _text(entry, "NtryDtls/Btch/PmtInfId")


def _return_of(entry: etree._Element) -> str:
    """Direct debits (UPDD, PRDD) and transfers (RRTN) that came back, where no reason is given with the details."""
    sub = _text(entry, "BkTxCd/Domn/Fmly/SubFmlyCd")
    return sub if sub in ("UPDD", "PRDD", "RRTN", "RPCR") else ""


def _detail_amount(detail: etree._Element) -> int | None:
    for path in ("Amt", "AmtDtls/TxAmt/Amt"):
        node = _first(detail, path)
        if node is not None:
            return _micros(node)
    return None


def _signed(node: etree._Element) -> int:
    """The amount of an entry or a balance, with its sign."""
    amount = _first(node, "Amt")
    if amount is None:
        raise _fault(node, "Amt is missing")
    side = _need(node, "CdtDbtInd")
    if side not in ("CRDT", "DBIT"):
        raise _fault(node, f"CdtDbtInd = {side!r}: CRDT or DBIT is needed")
    return _micros(amount) if side == "CRDT" else -_micros(amount)


def _micros(node: etree._Element) -> int:
    currency = node.get("Ccy") or ""
    try:
        micros = decimal_micros(_plain(node))
        if micros < 0 or micros % minor_unit(currency):
            raise MoneyError(f"{_plain(node)!r} cannot be paid in {currency}")
    except MoneyError as error:
        raise _fault(node, str(error)) from None
    return micros


def _currency(node: etree._Element) -> str:
    amount = _first(node, "Amt")
    return "" if amount is None else amount.get("Ccy") or ""


def _day(entry: etree._Element) -> date:
    text = _text(entry, "BookgDt/Dt") or _text(entry, "BookgDt/DtTm")
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise _fault(entry, f"BookgDt = {text!r}: a day such as 2026-11-02 is needed") from None


def _told(reference: str) -> str:
    return "" if reference.upper() in ("NOTPROVIDED", "NONREF") else reference


def _all(node: etree._Element, path: str) -> list[etree._Element]:
    namespace = etree.QName(node).namespace
    found: list[etree._Element] = node.findall("/".join(f"{{{namespace}}}{part}" for part in path.split("/")))
    return found


def _first(node: etree._Element, path: str) -> etree._Element | None:
    found = _all(node, path)
    return found[0] if found else None


def _plain(node: etree._Element) -> str:
    return " ".join((node.text or "").split())


def _text(node: etree._Element, path: str) -> str:
    found = _first(node, path)
    return "" if found is None else _plain(found)


def _need(node: etree._Element, path: str) -> str:
    text = _text(node, path)
    if not text:
        raise _fault(node, f"{path} is missing or empty")
    return text


def _fault(node: etree._Element, reason: str) -> StatementError:
    path = re.sub(r"\{[^}]*\}", "", node.getroottree().getelementpath(node))
    return StatementError(f"line {node.sourceline}: /Document/{path}: {reason}")
