"""Bank statements to test with, as two versions of camt.053 write them."""

from __future__ import annotations

from typing import Any

IBAN = "DE02120300000000202051"


def detail(amount: str = "", *, refs: str = "", ustrd: str = "", strd: str = "", payer: str = "", iban: str = "",
           returned: str = "", version: str = "08", debit: bool = False) -> str:  # fmt: skip
    party, side = (
        (f"<Nm>{payer}</Nm>" if version == "02" else f"<Pty><Nm>{payer}</Nm></Pty>"),
        "Cdtr" if debit else "Dbtr",
    )
    inside = f"<Refs>{refs}</Refs>" if refs else ""
    if amount:
        inside += (
            f'<Amt Ccy="EUR">{amount}</Amt>'
            if version != "02"
            else (f'<AmtDtls><TxAmt><Amt Ccy="EUR">{amount}</Amt></TxAmt></AmtDtls>')
        )
    if payer or iban:
        account = f"<{side}Acct><Id><IBAN>{iban}</IBAN></Id></{side}Acct>" if iban else ""
        inside += f"<RltdPties><{side}>{party}</{side}>{account}</RltdPties>"
    if strd or ustrd:
        structured = f"<Strd><CdtrRefInf><Ref>{strd}</Ref></CdtrRefInf></Strd>" if strd else ""
        inside += "<RmtInf>" + (f"<Ustrd>{ustrd}</Ustrd>" if ustrd else "") + structured + "</RmtInf>"
    if returned:
        inside += f"<RtrInf><Rsn><Cd>{returned}</Cd></Rsn></RtrInf>"
    return f"<TxDtls>{inside}</TxDtls>"


def entry(amount: str, *details: str, debit: bool = False, ref: str = "", status: str = "BOOK", version: str = "08",
          day: str = "2026-11-20", currency: str = "EUR", more: str = "", batch: str = "") -> str:  # fmt: skip
    state = status if version == "02" else f"<Cd>{status}</Cd>"
    inside = (f"<Btch><PmtInfId>{batch}</PmtInfId></Btch>" if batch else "") + "".join(details)
    return (
        f'<Ntry><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{"DBIT" if debit else "CRDT"}</CdtDbtInd>{more}'
        f"<Sts>{state}</Sts><BookgDt><Dt>{day}</Dt></BookgDt>"
        + (f"<AcctSvcrRef>{ref}</AcctSvcrRef>" if ref else "")
        + (f"<NtryDtls>{inside}</NtryDtls>" if inside else "")
        + "</Ntry>\n"
    )


def statement(
    *entries: str,
    name: str = "S-1",
    version: str = "08",
    iban: str = IBAN,
    balances: tuple[str, str] | None = None,
    head: str = "",
) -> bytes:
    """A file with one statement."""

    def balance(code: str, amount: str) -> str:
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
            f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-20</Dt></Dt></Bal>'
        )

    sums = "".join(balance(*pair) for pair in zip(("OPBD", "CLBD"), balances or (), strict=False))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">\n<BkToCstmrStmt>'
        f"<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-11-20T20:00:00</CreDtTm></GrpHdr>\n<Stmt><Id>{name}</Id>"
        f"<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>{sums}\n{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def simple(amount: str, text: str, **more: Any) -> str:
    """One payment with a free text."""
    return entry(amount, detail(ustrd=text, payer="Erika", iban="DE89370400440532013000"), **more)
