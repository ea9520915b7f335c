"""What is new in a network, told by mail to who has no display."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from hashlib import sha256

from sqlalchemy import Connection, select

from operator_server.context import Operator
from operator_server.link.visitors import Stranger, read_visitors
from operator_server.outlets import NotSent, outlet_of
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.visited import Roamer
from operator_server.visited.faults import VisitedError
from signalling.clock import to_micros

_TEXTS = {
    "en": ("New features in the network {network}", "In the network {network} you may also use:\n\n{features}\n"),
    "de": ("Neue Dienste im Netz {network}", "Im Netz {network} können Sie auch nutzen:\n\n{features}\n"),
}


def tell_of_new(operator: Operator, network: str, terminal: str, titles: Sequence[str], now: datetime) -> None:
    """Send a mail to the account's address, once for each set of features. Raises :class:`VisitedError`.

    Another try sends the same message under the same name.
    """
    with operator.engine.connect() as connection:
        [found] = read_visitors(connection, [terminal], to_micros(now))
        roamer, accounts = table(Roamer), table(Account)
        there = connection.execute(select(roamer.c.network).where(roamer.c.terminal_id == terminal)).scalar()
        if isinstance(found, Stranger) or there != network:
            raise VisitedError("not_registered", f"terminal {terminal} is not registered in {network}")
        visitor = found.visitor
        email = connection.execute(select(accounts.c.email).where(accounts.c.id == visitor.account)).scalar()
    if not email:
        raise VisitedError("no_address", f"account {visitor.account}: has no mail address to tell of new features")
    subject, text = _TEXTS.get(visitor.language, _TEXTS["en"])
    features = "\n".join(f"- {' '.join(title.split())}" for title in titles)
    settings = operator.settings
    message = EmailMessage()
    message["From"] = settings.outlet.sender or settings.operator.email or "noreply@localhost"
    message["To"] = email
    message["Subject"] = subject.format(network=network)
    message["Date"] = now
    message.set_content(text.format(network=network, features=features))
    name = "roaming-" + sha256("\n".join([network, terminal, features]).encode()).hexdigest()[:32]
    try:
        outlet_of(settings).send(name, message)
    except NotSent as no:
        raise VisitedError("not_sent", no.reason) from None

    def noted(connection: Connection) -> None:
        record(
            connection, now, "roaming_features_told", terminal=terminal, subscriber=visitor.subscriber,
            account=visitor.account, reference=network, features=list(titles),
        )  # fmt: skip

    transact(operator.engine, noted)
