"""Accounts: find a customer, see what they owe, have and use, and help them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import Connection

from charging.modes import mode_kind
from charging.subscriptions import day_of, midnight
from operator_server.balances import barring, money
from operator_server.balances.once import BalanceError
from operator_server.counting.tariffs import TariffVersions
from operator_server.offering.rejections import RejectionError, UnknownRejection, undo_rejection
from operator_server.parties import AccountChange, PartyError, change_account
from operator_server.store.dealings import Agreement, Rejection
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.subscriptions import ending, views
from operator_server.subscriptions.settling import NotSettled
from operator_server.web.api.forms import Identifier
from operator_server.web.api.forms import amount as amount_text
from operator_server.web.calls import Call
from operator_server.web.console import accounts_data as data
from operator_server.web.console.base import Moved, Section, View, listing, moved, posted, show
from operator_server.web.console.charts import lines
from operator_server.web.console.invoices_data import evidence_of
from operator_server.web.console.once import fresh, once
from operator_server.web.console.render import money as money_text
from operator_server.web.console.render import number
from operator_server.web.pages import PageOf
from operator_server.web.problems import Problem
from signalling.money import MoneyError, decimal_micros

section = Section("Accounts", "/console/accounts", needs="accounts.read")

BECAUSE = {
    "now": "it has no notice period",
    "trial": "the trial runs until then and costs nothing",
    "notice": "that is the notice period",
    "minimum": "the minimum term runs until then",
    "price": "a price was announced, so it may end before that holds",
}


@section.page(needs="accounts.read")
def accounts(
    call: Call,
    paging: PageOf,
    q: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[Literal["active", "barred", "closed", ""], Query()] = "",
) -> View:
    """Find an account."""
    account, text = table(Account), " ".join(q.split())
    query = data.found(call.connection, text, status)
    rows = listing(call, query, [account.c.id], paging, lambda row: row)
    return show("accounts_list.html", list=rows, q=text, status=status)


@section.page("/{account}", needs="accounts.read")
def account(call: Call, account: Identifier) -> View:
    """An account."""
    row, now, zone = _row(call, account), call.now, call.operator.settings.operator.time_zone
    may = call.caller.permissions.__contains__
    agreements = views.agreements(call.connection, account=account, most=200) if may("agreements.read") else []
    used = []
    if may("usage.read"):
        versions = TariffVersions(lambda: call.web.offers.tariffs)
        for each in data.used_by_day(call.connection, versions, account, zone, now):
            texts = [[f"{number(quantity)} {each.unit}" for quantity in each.quantities]]
            days = [f"{day:%d %b}" for day in each.days]
            chart = lines(f"Use in {each.unit}, by day", days, [(each.unit, each.quantities)], texts)
            used.append((each.unit, sum(each.quantities), chart))
    return show(
        "accounts_one.html", shown=data.account_shown(call.connection, row, now), account=row, now=now, used=used,
        today=now.astimezone(call.operator.settings.operator.zone).date(),
        agreements=agreements, once=fresh, days=data.CHART_DAYS,
    )  # fmt: skip


@section.page("/{account}/ledger", needs="balances.read", slow=True)
def ledger(call: Call, account: Identifier, before: Annotated[str, Query(max_length=64)] = "") -> View:
    """The postings of an account."""
    row = _row(call, account)
    page = data.ledger_page(call.connection, account, before)
    kinds = {each.id: each.kind for each in page.accounts}
    return show("accounts_ledger.html", account=row, page=page, kinds=kinds, before=before)


@section.form("/{account}/bar", needs="accounts.write")
def bar(call: Call, account: Identifier) -> Moved:
    """Bar the account, or a subscriber of it."""
    return _barring(call, account, lift=False)


@section.form("/{account}/unbar", needs="accounts.write")
def unbar(call: Call, account: Identifier) -> Moved:
    """Lift a barring."""
    return _barring(call, account, lift=True)


def _barring(call: Call, account: str, *, lift: bool) -> Moved:
    form = posted(call)
    reason, subscriber = _reason(form.text("reason")), form.text("subscriber")
    party: barring.Party = "subscriber" if subscriber else "account"
    name = subscriber or account

    def change(connection: Connection) -> bool:
        _exists(connection, account, subscriber)
        do = barring.unbar if lift else barring.bar
        done = _told(
            lambda: call.changed(
                connection, f"{party}.{'unbar' if lift else 'bar'}", f"{party}/{name}",
                lambda c: do(c, party, name, reason, call.now), lambda done: {"reason": reason} if done else None,
            )
        )  # fmt: skip
        return bool(done)

    done = call.write(change)
    what = f"{party.capitalize()} {name} is {'not barred any more' if lift else 'barred'}."
    return moved(_url(account), what if done else f"{what} It was so before.")


@section.form("/{account}/top-up", needs="balances.write")
def top_up(call: Call, account: Identifier) -> Moved:
    """Credit money that was paid ahead."""
    form = posted(call)
    micros, reason = _amount(form.text("amount")), form.text("reason")[:500]

    return _moved_money(
        call, account, "balance.top_up", micros, reason,
        lambda c, name: money.top_up(c, account, micros, id=name, reason=reason, now=call.now),
    )  # fmt: skip


@section.form("/{account}/adjust", needs="balances.write")
def adjust(call: Call, account: Identifier) -> Moved:
    """Correct what is paid ahead."""
    form = posted(call)
    micros, reason = _amount(form.text("amount"), signed=True), _reason(form.text("reason"))

    return _moved_money(
        call, account, "balance.adjust", micros, reason,
        lambda c, name: money.adjust(c, account, micros, id=name, reason=reason, now=call.now),
    )  # fmt: skip


def _moved_money(
    call: Call, account: str, action: str, micros: int, reason: str, do: Callable[[Connection, str], Any]
) -> Moved:
    def operation(connection: Connection, name: str) -> Moved:
        currency = _known(connection, account).currency
        told = {"amount": amount_text(micros, currency), "id": name, "reason": reason}
        _told(lambda: call.changed(connection, action, f"account/{account}", lambda c: do(c, name), told))
        balance = sum(each.remaining for each in money.credits_of(connection, account, currency, call.now))
        booked, ahead = money_text(micros, currency), money_text(balance, currency)
        return moved(_url(account), f"{booked} booked; {ahead} are paid ahead.")

    return once(call, operation)


@section.form("/{account}/limit", needs="accounts.write")
def limit(call: Call, account: Identifier) -> Moved:
    """Set the credit limit."""
    micros = _amount(posted(call).text("amount"), zero=True)

    def change(connection: Connection) -> str:
        row = _known(connection, account)
        _told(
            lambda: call.changed(
                connection, "account.change", f"account/{account}",
                lambda c: money.set_limit(c, account, micros, call.now),
                lambda _: {} if micros != row.credit_limit else None,
            )
        )  # fmt: skip
        return money_text(micros, row.currency)

    return moved(_url(account), f"The credit limit is {call.write(change)}.")


@section.form("/{account}/contact", needs="accounts.write")
def contact(call: Call, account: Identifier) -> Moved:
    """Change the address that invoices are sent to, and their language."""
    form = posted(call)
    change_to = AccountChange(email=form.text("email"), language=form.text("language"))

    def change(connection: Connection) -> None:
        row = _known(connection, account)
        same = (row.email, row.language) == (change_to.email, change_to.language)
        try:
            call.changed(
                connection, "account.change", f"account/{account}",
                lambda c: change_account(c, account, change_to, call.now), lambda _: None if same else {},
            )  # fmt: skip
        except PartyError as no:
            raise Problem(422, str(no)) from None

    call.write(change)
    return moved(_url(account), "E-mail address and language are changed; later invoices are made in it.")


@section.form("/{account}/rejections/{rejection}/undo", needs="rejections.undo")
def undo(call: Call, account: Identifier, rejection: Identifier) -> Moved:
    """Let an offer be shown again to who asked for it."""
    reason = posted(call).text("reason")[:500]

    def change(connection: Connection) -> str:
        row = connection.execute(
            table(Rejection).select().where(table(Rejection).c.id == rejection)
        ).first()  # fmt: skip
        if row is None:
            raise Problem(404, f"rejection {rejection}: there is none")
        _exists(connection, account, row.subscriber_id)
        try:
            undo_rejection(connection, rejection, reason, call.now, actor=call.caller.actor)
        except UnknownRejection as no:
            raise Problem(404, str(no)) from None
        except RejectionError as no:
            raise Problem(409, str(no)) from None
        return str(row.offer_id)

    return moved(_url(account), f"Offer {call.write(change)} may be shown to the user again.")


@section.page("/{account}/agreements/{agreement}", needs="agreements.read")
def agreement(call: Call, account: Identifier, agreement: Identifier) -> View:
    """An agreement and its life."""
    row = _row(call, account)
    _own(call.connection, account, agreement)
    shown = views.agreement(call.connection, agreement)
    return show(
        "accounts_agreement.html", withdrawable=_withdrawable(call, shown["agreed"]),
        once_paid=mode_kind(shown["kind"]).once, account=row, agreement=shown,
        evidence=evidence_of(call.connection, call.operator, agreement), now=call.now, once=fresh,
    )  # fmt: skip


@section.form("/{account}/agreements/{agreement}/cancel", needs="agreements.cancel")
def cancel(call: Call, account: Identifier, agreement: Identifier) -> Moved:
    """Cancel an agreement as its terms allow."""
    reason = _reason(posted(call).text("reason"))

    def change(connection: Connection) -> ending.Cancellation:
        _own(connection, account, agreement)
        return _agreed(  # type: ignore[no-any-return]  # it gives what cancel gave
            lambda: call.changed(
                connection, "agreement.cancel", f"agreement/{agreement}",
                lambda c: ending.cancel(c, agreement, call.operator.settings, call.now),
                lambda ends: {"reason": reason, "ends_at": ends.ends_at, "because": ends.because},
            )
        )  # fmt: skip

    ends = call.write(change)
    local = ends.ends_at.astimezone(call.operator.settings.operator.zone)
    why = BECAUSE.get(ends.because, ends.because)
    said = (
        "It is cancelled and has ended" if ends.ends_at <= call.now
        else f"It is cancelled and runs until {local:%Y-%m-%d %H:%M}: {why}"
    )  # fmt: skip
    return moved(_url(account, agreement), f"{said}.")


@section.form("/{account}/agreements/{agreement}/renew", needs="agreements.cancel")
def renew(call: Call, account: Identifier, agreement: Identifier) -> Moved:
    """Take a cancellation back."""
    reason = _reason(posted(call).text("reason"))

    def change(connection: Connection) -> None:
        _own(connection, account, agreement)
        _agreed(
            lambda: call.changed(
                connection, "agreement.renew", f"agreement/{agreement}",
                lambda c: ending.renew(c, agreement, call.operator.settings, call.now), {"reason": reason},
            )
        )  # fmt: skip

    call.write(change)
    return moved(_url(account, agreement), "The cancellation is taken back; the agreement runs on.")


@section.form("/{account}/agreements/{agreement}/withdraw", needs="agreements.cancel")
def withdraw(call: Call, account: Identifier, agreement: Identifier) -> Moved:
    """End an agreement from its beginning; all that it charged is taken back."""
    reason = _reason(posted(call).text("reason"))

    def operation(connection: Connection, name: str) -> Moved:
        _own(connection, account, agreement)
        back = _agreed(
            lambda: call.changed(
                connection, "agreement.withdraw", f"agreement/{agreement}",
                lambda c: ending.withdraw(c, agreement, call.operator.settings, call.now),
                lambda back: {
                    "reason": reason, "net": amount_text(back.net, back.currency),
                    "tax": amount_text(back.tax, back.currency), "currency": back.currency,
                    "charges": list(back.charges),
                },
            )
        )  # fmt: skip
        net = money_text(back.net, back.currency)
        return moved(_url(account, agreement), f"It is withdrawn; {net} net are taken back.")

    return once(call, operation)


def _withdrawable(call: Call, agreed: datetime) -> datetime | None:
    """Until when the agreement can be withdrawn; ``None`` where that is over or never was."""
    days, zone = call.operator.settings.negotiation.withdrawal_days, call.operator.settings.operator.zone
    last = midnight(day_of(agreed, zone) + timedelta(days=days + 1), zone)
    return last if days and call.now < last else None


def _url(account: str, agreement: str = "") -> str:
    return f"{section.path}/{account}" + (f"/agreements/{agreement}" if agreement else "")


def _row(call: Call, account: str) -> Any:
    return _known(call.connection, account)


def _known(connection: Connection, account: str) -> Any:
    row = data.account_row(connection, account)
    if row is None:
        raise Problem(404, f"account {account}: there is none")
    return row


def _exists(connection: Connection, account: str, subscriber: str) -> None:
    """The account, and that the subscriber is its own."""
    _known(connection, account)
    if subscriber:
        rows = table(Subscriber)
        own = connection.execute(rows.select().where(rows.c.id == subscriber, rows.c.account_id == account)).first()
        if own is None:
            raise Problem(404, f"subscriber {subscriber}: account {account} has none of this id")


def _own(connection: Connection, account: str, agreement: str) -> None:
    """Raises :class:`Problem` 404 where the agreement is not of the account."""
    rows = table(Agreement)
    row = connection.execute(rows.select().where(rows.c.id == agreement, rows.c.account_id == account)).first()
    if row is None:
        raise Problem(404, f"agreement {agreement}: account {account} has none of this id")


def _reason(text: str) -> str:
    if not text:
        raise Problem(422, "reason: is needed; it is kept with the change")
    return text[:500]


def _amount(text: str, *, signed: bool = False, zero: bool = False) -> int:
    try:
        micros = decimal_micros(text.replace(",", "."))
    except MoneyError as no:
        raise Problem(422, f"amount: {no}; write it as 12.50") from None
    if (micros < 0 and not signed) or (micros == 0 and not zero):
        raise Problem(422, f"amount: {text} is not {'other than' if signed else 'above'} zero")
    return micros


def _told(do: Any) -> Any:
    try:
        return do()
    except BalanceError as no:
        raise Problem(422 if no.code == "bad_amount" else 409, str(no)) from None
    except (MoneyError, OverflowError) as no:
        raise Problem(422, str(no)) from None


def _agreed(do: Any) -> Any:
    try:
        return do()
    except (ending.AgreementError, NotSettled) as no:
        raise Problem(409, str(no)) from None
