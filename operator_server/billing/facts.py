"""What the lines of an invoice need to know beside the charges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from charging.rating import Rounding
from charging.tariffs import restore_version
from charging.tariffs.headline import headline
from operator_server.store.billing import Commitment
from operator_server.store.dealings import Agreement, OfferVersion, QuoteRow, TariffVersionRow
from operator_server.store.rows import table
from signalling.documents import Quote, decode_document
from signalling.messages import ModeTerms


@dataclass(frozen=True, slots=True)
class AgreementFacts:
    """What was agreed, as it was offered: titles by language and the terms of the mode."""

    titles: Mapping[str, str]
    offer: str
    mode_kind: str
    terms: ModeTerms

    def title(self, language: str) -> str:
        """The offer's title in a language, else in English, else in any."""
        return (
            self.titles.get(language)
            or self.titles.get("en")
            or next((self.titles[name] for name in sorted(self.titles)), self.offer)
        )


@dataclass(frozen=True, slots=True)
class TariffFacts:
    """How a tariff version is quoted and rounded. ``exact``: ``amount`` micros per ``size`` units is all of it."""

    amount: int
    size: int
    exact: bool
    rounding: Rounding


_AT_ONCE = 500


class Agreements:
    """The facts of agreements, and of the commitments of accounts; offers are read once each."""

    def __init__(self) -> None:
        self._titles: dict[str, Mapping[str, str]] = {}

    def read(self, connection: Connection, ids: Collection[str]) -> dict[str, AgreementFacts]:
        """The facts of these agreements, by id; one that is not kept is missing."""
        found: dict[str, AgreementFacts] = {}
        ordered = sorted(ids)
        for start in range(0, len(ordered), _AT_ONCE):
            some = ordered[start : start + _AT_ONCE]
            self._read(connection, some, found)
            missing = [each for each in some if each not in found]
            if missing:
                self._read_commitments(connection, missing, found)
        return found

    def _read(self, connection: Connection, ids: list[str], found: dict[str, AgreementFacts]) -> None:
        agreement, quote = table(Agreement), table(QuoteRow)
        rows = connection.execute(
            select(
                agreement.c.id, agreement.c.offer_id, agreement.c.offer_version, agreement.c.mode_kind, quote.c.document
            )
            .join(quote, quote.c.id == agreement.c.quote_id)
            .where(agreement.c.id.in_(ids))
        ).all()
        self._read_titles(connection, {row.offer_version for row in rows} - self._titles.keys())
        for row in rows:
            found[row.id] = AgreementFacts(
                titles=self._titles[row.offer_version],
                offer=row.offer_id,
                mode_kind=row.mode_kind,
                terms=decode_document(Quote, row.document).mode,
            )

    def _read_titles(self, connection: Connection, versions: Collection[str]) -> None:
        offer = table(OfferVersion)
        self._titles.update((version, {}) for version in versions)
        ordered = sorted(versions)
        for start in range(0, len(ordered), _AT_ONCE):
            some = ordered[start : start + _AT_ONCE]
            for row in connection.execute(select(offer.c.id, offer.c.content).where(offer.c.id.in_(some))):
                self._titles[row.id] = _titles(row.content)

    def _read_commitments(self, connection: Connection, ids: list[str], found: dict[str, AgreementFacts]) -> None:
        commitment = table(Commitment)
        for row in connection.execute(select(commitment).where(commitment.c.id.in_(ids))):
            terms = ModeTerms(
                mode="commitment", kind="commitment", label=row.label, price_text="", currency=row.currency,
                amount=row.amount, tax_category=row.tax_category, tax_rate=0,
            )  # fmt: skip
            found[row.id] = AgreementFacts(titles={}, offer=row.label, mode_kind="commitment", terms=terms)


def _titles(content: dict[str, Any]) -> dict[str, str]:
    return {language: text["title"] for language, text in content.get("text", {}).items()}


class Tariffs:
    """The facts of tariff versions as the store keeps them, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, TariffFacts | None] = {}

    def get(self, connection: Connection, version_id: str) -> TariffFacts | None:
        """The facts of a version; ``None`` where the charge has none or the store does not keep it."""
        if version_id not in self._known:
            self._known[version_id] = self._read(connection, version_id) if version_id else None
        return self._known[version_id]

    def _read(self, connection: Connection, version_id: str) -> TariffFacts | None:
        kept = table(TariffVersionRow)
        row = connection.execute(select(kept).where(kept.c.id == version_id)).first()
        if row is None:
            return None
        version = restore_version(row.tariff_id, row.content)
        price = headline(version)
        return TariffFacts(price.amount, price.size, price.exact, version.rounding)
