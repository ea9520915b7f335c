"""Our own feature codes: read from a file, checked, kept under a sequence number that rises with each change."""

from __future__ import annotations

import tomllib
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, select

from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.visited import FeatureTableRow
from operator_server.visited.faults import VisitedError
from signalling.codes.table import MOST_SEQUENCE, CodeError, FeatureCode, FeatureName, check_codes
from signalling.money import Money, MoneyError


class Surcharge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What home owes us when its subscriber takes a feature here, once: a decimal in major units."""

    amount: str
    currency: Annotated[str, Meta(min_length=3, max_length=3)]

    def money(self) -> Money:
        """The amount. Raises :class:`signalling.money.MoneyError`."""
        return Money.parse(self.amount, self.currency)


class Sold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By which offer, in which of its modes, our own subscribers buy a feature that costs something elsewhere.

    ``at_most`` and ``currency``: what we shall owe the visited network for it at most, a decimal in major units; left
    out, what our subscriber pays us, without tax.
    """

    offer: str
    mode: str
    at_most: str = ""
    currency: str = ""

    def most(self) -> Money | None:
        """What we owe at most, where it is set. Raises :class:`signalling.money.MoneyError`."""
        return Money.parse(self.at_most, self.currency) if self.at_most or self.currency else None


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of feature codes.

    ``download``: whether codes come at registration or when a feature is wanted. ``surcharge``: by feature, for
    visitors; ``sold``: by feature, or ``feature@network``, to our own
    subscribers abroad.
    """

    feature: list[FeatureCode]
    download: Literal["registration", "on_demand"] = "registration"
    surcharge: dict[FeatureName, Surcharge] = {}
    sold: dict[str, Sold] = {}

    def sold_by(self, feature: str, network: str) -> Sold | None:
        """By what our subscribers buy a feature in a network."""
        return self.sold.get(f"{feature}@{network}") or self.sold.get(feature)

    def check(self) -> None:
        """Raises :class:`VisitedError` for what clashes or is missing."""
        try:
            check_codes(self.feature)
        except CodeError as no:
            raise VisitedError("codes_clash", str(no)) from None
        names = {each.feature: each for each in self.feature}
        for name, surcharge in self.surcharge.items():
            if name not in names:
                raise VisitedError("bad_codes", f"surcharge.{name}: there is no feature of this name")
            if not names[name].ef:
                raise VisitedError("bad_codes", f"surcharge.{name}: the feature needs its number: ef = 1 to 64")
            try:
                if surcharge.money().micros <= 0:
                    raise VisitedError("bad_codes", f"surcharge.{name}: {surcharge.amount} is not above zero")
            except MoneyError as no:
                raise VisitedError("bad_codes", f"surcharge.{name}: {no}") from None
        for name, sold in self.sold.items():
            try:
                sold.most()
            except MoneyError as no:
                raise VisitedError("bad_codes", f"sold.{name}: {no}") from None
        for each in self.feature:
            if each.ef and each.feature not in self.surcharge:
                raise VisitedError("bad_codes", f"feature {each.feature}: ef {each.ef} needs its surcharge")


class Held(msgspec.Struct, frozen=True):
    """The features in force, and their sequence number; 0 before any was loaded."""

    sequence: int
    features: Features


_NONE = Held(0, Features([]))


def read_features(path: Path) -> Features:
    """The features in a TOML file. Raises :class:`VisitedError`, ``OSError``."""
    try:
        features = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Features)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise VisitedError("bad_codes", f"{path}: {error}") from None
    try:
        features.check()
    except VisitedError as no:
        raise VisitedError(no.code, f"{path}: {no.reason}") from None
    return features


def load_features(connection: Connection, features: Features, now: datetime) -> Held:
    """Put features in force. The same as before keep their number; others get the next one.

    Raises :class:`VisitedError`, and then changes nothing.
    """
    features.check()
    document = msgspec.json.encode(features)
    digest = sha256(document).digest()
    held = _newest(connection)
    if held is not None and bytes(held.digest) == digest:
        return Held(held.sequence, features)
    _check_numbers(connection, features)
    sequence = 1 if held is None else held.sequence + 1
    if sequence > MOST_SEQUENCE:
        raise VisitedError("bad_codes", "no sequence number is left")
    add(connection, FeatureTableRow(sequence=sequence, digest=digest, document=document, loaded_at=now))
    record(connection, now, "feature_codes_loaded", reference=str(sequence), features=len(features.feature))
    return Held(sequence, features)


def _check_numbers(connection: Connection, features: Features) -> None:
    """A number stays with its feature for ever: mobiles know by it what they have paid for."""
    given: dict[int, str] = {}
    rows = table(FeatureTableRow)
    for document in connection.execute(select(rows.c.document).order_by(rows.c.sequence)).scalars():
        given |= {each.ef: each.feature for each in msgspec.json.decode(document, type=Features).feature if each.ef}
    numbers = {feature: ef for ef, feature in given.items()}
    for each in features.feature:
        if each.ef and given.get(each.ef, each.feature) != each.feature:
            raise VisitedError("bad_codes", f"feature {each.feature}: ef {each.ef} was that of {given[each.ef]}")
        if each.ef and numbers.get(each.feature, each.ef) != each.ef:
            raise VisitedError("bad_codes", f"feature {each.feature}: its ef was {numbers[each.feature]} and stays it")


def held_features(connection: Connection) -> Held:
    """The features in force."""
    row = _newest(connection)
    return _NONE if row is None else Held(row.sequence, msgspec.json.decode(row.document, type=Features))


def _newest(connection: Connection) -> Any:
    rows = table(FeatureTableRow)
    return connection.execute(select(rows).order_by(rows.c.sequence.desc()).limit(1)).first()
