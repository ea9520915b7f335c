"""Accounts: who pays, who uses on whose account, and what stands open."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from charging.ledger.tables import LedgerAccount
from operator_server import parties
from operator_server.balances import barring
from operator_server.balances.money import set_limit
from operator_server.balances.once import BalanceError
from operator_server.parties import AccountChange, NewAccount, PartyError
from operator_server.store.parties import Account, Binding, Subscriber
from operator_server.store.rows import matching, table
from operator_server.validation.desk import charges
from operator_server.web.api.forms import NAMED, PLAIN, Amount, Form, Identifier, amount
from operator_server.web.calls import Answer, Call, IfMatch
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes
from signalling.money import decimal_micros

routes = Routes("Accounts", "/api/v1/accounts")

Line = Annotated[str, Field(max_length=200, json_schema_extra=PLAIN)]


class AccountView(BaseModel):
    """Who pays; name and address stand on invoices."""

    id: str
    name: str
    address: list[str]
    country: str
    vat_id: str
    email: str
    language: str
    currency: str
    credit_limit: str
    status: str
    created_at: datetime


class SubscriberView(BaseModel):
    """Who uses on an account, and with which terminals."""

    id: str
    account: str
    name: str
    groups: list[str]
    status: str
    terminals: list[str]


class MoneyView(BaseModel):
    """What stands open in a currency."""

    currency: str
    unbilled: str = Field(description="Charged and not yet invoiced")
    open: str = Field(description="Invoiced and not yet paid")
    reserved: str = Field(description="Set aside for agreements and use granted ahead")
    available: str | None = Field(description="What can still be spent; null where there is no limit")


class LedgerView(BaseModel):
    """One ledger account; a debit is positive."""

    kind: str
    currency: str
    balance: str
    reserved: str


class BalancesView(BaseModel):
    """The money of an account."""

    account: str
    money: list[MoneyView]
    ledger: list[LedgerView]


class AccountForm(Form):
    """An account to open; what is left out is the operator's."""

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]{1,64}$")
    name: str = Field(min_length=1, max_length=200, json_schema_extra=NAMED)
    address: list[Line] = Field(default=[], max_length=10)
    country: str = Field(default="", pattern="^([A-Z]{2})?$", description="ISO 3166")
    vat_id: str = Field(default="", max_length=32, json_schema_extra=PLAIN)
    email: str = Field(default="", max_length=254, json_schema_extra=PLAIN)
    language: str = Field(default="", pattern="^([a-z]{2})?$", description="ISO 639")
    currency: str = Field(default="", pattern="^([A-Z]{3})?$", description="ISO 4217")
    credit_limit: Amount | None = None


class AccountChangeForm(Form):
    """What is to be changed; what is left out stays."""

    name: Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=NAMED)] | None = None
    address: list[Line] | None = Field(default=None, max_length=10)
    country: str | None = Field(default=None, pattern="^[A-Z]{2}$", description="ISO 3166")
    vat_id: Annotated[str, Field(max_length=32, json_schema_extra=PLAIN)] | None = None
    email: Annotated[str, Field(max_length=254, json_schema_extra=PLAIN)] | None = None
    language: str | None = Field(default=None, pattern="^[a-z]{2}$", description="ISO 639")
    credit_limit: Amount | None = None


class SubscriberForm(Form):
    """A subscriber to add."""

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]{1,64}$")
    name: str = Field(default="", max_length=200, json_schema_extra=PLAIN)
    groups: list[Annotated[str, Field(max_length=64, json_schema_extra=PLAIN)]] = Field(default=[], max_length=50)


def _view(row: Any) -> AccountView:
    values = {name: getattr(row, name) for name in AccountView.model_fields}
    return AccountView(**values | {"credit_limit": amount(row.credit_limit, row.currency)})


def one(connection: Connection, account: str) -> AccountView:
    """The account. Raises :class:`Problem` 404."""
    accounts = table(Account)
    row = the_row(connection, select(accounts).where(accounts.c.id == account), f"account {account}")
    return _view(row)


@routes.get("", needs="accounts.read")
def list_accounts(
    call: Call,
    paging: PageOf,
    name_begins: Annotated[str, Query(max_length=100, description="As written, letters of either case differ")] = "",
    status: Annotated[Literal["active", "barred", "closed", ""], Query()] = "",
) -> Page[AccountView]:
    """Accounts by id; by name where `name_begins` is given."""
    accounts = table(Account)
    query, key = select(accounts), [accounts.c.id]
    if name_begins:
        query = query.where(accounts.c.name >= name_begins, accounts.c.name < name_begins + "\U0010ffff")
        key = [accounts.c.name, accounts.c.id]
    query = matching(query, (accounts.c.status, status))
    return page(call, AccountView, query, key, paging, _view)


@routes.get("/{account}", needs="accounts.read")
def show_account(call: Call, account: Identifier) -> AccountView:
    """An account."""
    return one(call.connection, account)


@routes.post("", needs="accounts.write", status=201, problems=[409], model=AccountView)
def create_account(call: Call, body: AccountForm) -> Answer:
    """Open an account with one subscriber of the same id."""
    new = NewAccount(**body.model_dump() | {"credit_limit": body.credit_limit or ""})

    def create(connection: Connection) -> AccountView:
        if parties.exists(connection, Account, body.id) or parties.exists(connection, Subscriber, body.id):
            raise Problem(409, f"account {body.id}: an account or subscriber of this id exists already")
        try:
            call.changed(
                connection, "account.create", f"account/{body.id}",
                lambda c: parties.create_account(c, new, call.operator.settings.operator, call.now), {},
            )  # fmt: skip
        except PartyError as no:
            raise Problem(422, str(no)) from None
        return one(connection, body.id)

    return Answer(call.write(create), 201, {"Location": f"/api/v1/accounts/{body.id}"})


@routes.patch("/{account}", needs="accounts.write", problems=[412, 428])
def change_account(call: Call, account: Identifier, body: AccountChangeForm, if_match: IfMatch) -> AccountView:
    """Change name, address, language or credit limit; what was invoiced stays as it is."""
    change = AccountChange(**body.model_dump(exclude={"credit_limit"}))

    def apply(connection: Connection) -> AccountView:
        before = one(connection, account)
        call.require_match(before, if_match)

        def put(connection: Connection) -> AccountView:
            parties.change_account(connection, account, change, call.now)
            if body.credit_limit is not None:
                set_limit(connection, account, decimal_micros(body.credit_limit), call.now)
            return one(connection, account)

        try:
            return call.changed(
                connection, "account.change", f"account/{account}", put, lambda after: {} if after != before else None
            )
        except (PartyError, BalanceError) as no:
            raise Problem(422, str(no)) from None

    return call.write(apply)


class BarringForm(Form):
    """Who is to be barred, or barred no more, and why."""

    reason: str = Field(min_length=1, max_length=500)
    subscriber: str | None = Field(
        default=None, min_length=1, max_length=64, description="One of the account's alone; null for all of it"
    )


class BarringView(BaseModel):
    """Whether somebody is barred: no new agreement, and nothing more to spend."""

    account: str
    subscriber: str | None
    barred: bool
    changed: bool = Field(description="False where it was so before")


@routes.post("/{account}/bar", needs="accounts.write", problems=[409])
def bar(call: Call, account: Identifier, body: BarringForm) -> BarringView:
    """Bar an account, or one subscriber of it, for a reason that is kept."""
    return _barring(call, account, body, barred=True)


@routes.post("/{account}/unbar", needs="accounts.write", problems=[409])
def unbar(call: Call, account: Identifier, body: BarringForm) -> BarringView:
    """Lift a barring."""
    return _barring(call, account, body, barred=False)


def _barring(call: Call, account: str, body: BarringForm, *, barred: bool) -> BarringView:
    party: barring.Party = "account" if body.subscriber is None else "subscriber"
    name = body.subscriber or account

    def change(connection: Connection) -> bool:
        one(connection, account)
        subscriber = table(Subscriber)
        own = select(subscriber.c.id).where(subscriber.c.id == name, subscriber.c.account_id == account)
        if party == "subscriber" and connection.execute(own).first() is None:
            raise Problem(404, f"subscriber {name}: account {account} has none of this id")
        do = barring.bar if barred else barring.unbar
        try:
            return call.changed(
                connection, f"{party}.{'bar' if barred else 'unbar'}", f"{party}/{name}",
                lambda c: do(c, party, name, body.reason, call.now),
                lambda done: {"reason": body.reason} if done else None,
            )  # fmt: skip
        except BalanceError as no:
            raise Problem(409, str(no)) from None

    return BarringView(account=account, subscriber=body.subscriber, barred=barred, changed=call.write(change))


@routes.get("/{account}/subscribers", needs="accounts.read")
def list_subscribers(call: Call, account: Identifier, paging: PageOf) -> Page[SubscriberView]:
    """Who uses on the account."""
    one(call.connection, account)
    subscriber = table(Subscriber)
    query = select(subscriber).where(subscriber.c.account_id == account)
    return page(call, SubscriberView, query, [subscriber.c.id], paging, lambda row: _subscriber(call.connection, row))


def _subscriber(connection: Connection, row: Any) -> SubscriberView:
    binding = table(Binding)
    held = connection.execute(
        select(binding.c.terminal_id)
        .where(binding.c.subscriber_id == row.id, binding.c.valid_to.is_(None))
        .order_by(binding.c.terminal_id)
        .limit(100)
    ).scalars()
    return SubscriberView(
        id=row.id, account=row.account_id, name=row.name, groups=row.groups, status=row.status, terminals=list(held)
    )


@routes.post("/{account}/subscribers", needs="accounts.write", status=201, problems=[409], model=SubscriberView)
def add_subscriber(call: Call, account: Identifier, body: SubscriberForm) -> Answer:
    """Add a subscriber who uses on the account."""

    def create(connection: Connection) -> SubscriberView:
        one(connection, account)
        if parties.exists(connection, Subscriber, body.id):
            raise Problem(409, f"subscriber {body.id}: exists already")
        try:
            call.changed(
                connection, "subscriber.create", f"subscriber/{body.id}",
                lambda c: parties.create_subscriber(
                    c, body.id, account, call.now, name=body.name, groups=body.groups
                ), {},
            )  # fmt: skip
        except PartyError as no:
            raise Problem(422, str(no)) from None
        subscriber = table(Subscriber)
        return _subscriber(connection, connection.execute(select(subscriber).where(subscriber.c.id == body.id)).one())

    return Answer(call.write(create), 201)


@routes.get("/{account}/balances", needs="balances.read")
def show_balances(call: Call, account: Identifier) -> BalancesView:
    """What stands open on the account, and its ledger accounts."""
    one(call.connection, account)
    ledger = table(LedgerAccount)
    rows = call.connection.execute(
        select(ledger).where(ledger.c.owner == account).order_by(ledger.c.currency, ledger.c.kind)
    )
    return BalancesView(
        account=account,
        money=[
            MoneyView(
                currency=each.currency, unbilled=amount(each.unbilled, each.currency),
                open=amount(each.open, each.currency), reserved=amount(each.reserved, each.currency),
                available=None if each.available >= 2**53 else amount(each.available, each.currency),
            )
            for each in charges(call.connection, account)
        ],
        ledger=[
            LedgerView(
                kind=row.kind, currency=row.currency, balance=amount(row.balance, row.currency),
                reserved=amount(row.reserved, row.currency),
            )
            for row in rows
        ],
    )  # fmt: skip
