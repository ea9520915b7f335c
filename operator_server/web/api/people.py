"""Oneself, people, their tokens, and the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Connection, select

from operator_server.people import persons, tokens
from operator_server.people.passwords import SHORTEST, UnfitPassword, one_time_password
from operator_server.people.persons import PersonError, PersonTaken, UnknownPerson, WrongPassword
from operator_server.people.roles import PERMISSIONS, ROLES, SELF, UnknownRole
from operator_server.store.people import ApiToken, AuditEntry, Person
from operator_server.store.rows import matching, table
from operator_server.web.api.forms import Form, Identifier
from operator_server.web.calls import Answer, Call, IfMatch
from operator_server.web.gate import csrf_token
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

routes = Routes("People", "/api/v1")

SCOPES = ["read", *sorted(PERMISSIONS)]


def _one_of(what: str, those: Collection[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in those:
            raise ValueError(f"{what} {value[:64]!r}: there is none; there are {', '.join(those)}")
        return value

    return check


Role = Annotated[str, AfterValidator(_one_of("role", ROLES)), Field(json_schema_extra={"enum": list(ROLES)})]
Scope = Annotated[
    str,
    AfterValidator(_one_of("scope", SCOPES)),
    Field(json_schema_extra={"enum": SCOPES}, description="A permission; read stands for all that the role reads"),
]
Name = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$")]


class Me(BaseModel):
    """Who asks, and what is permitted."""

    name: str
    role: str
    permissions: list[str]
    must_change_password: bool
    csrf_token: str | None = Field(description="For sessions: the X-CSRF-Token of changes; null for tokens")


class PasswordChange(Form):
    """A change of one's own password."""

    old: str = Field(min_length=1, max_length=256)
    new: str = Field(min_length=SHORTEST, max_length=256)


class PersonView(BaseModel):
    """Somebody who may log on."""

    name: str
    role: str
    status: str
    must_change_password: bool
    created_at: datetime
    last_logon_at: datetime | None


class PersonMade(PersonView):
    """A person just made, or given a password."""

    one_time_password: str = Field(description="For one logon; it is not shown again")


class NewPersonForm(Form):
    """Somebody to let in."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$")
    role: Role


class PersonChange(Form):
    """What is to be changed; what is left out stays."""

    role: Role | None = None
    status: str | None = Field(default=None, pattern="^(active|disabled)$")


class TokenView(BaseModel):
    """A script's token, without the token."""

    id: str
    person: str
    label: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


class TokenForm(Form):
    """A token to make for oneself."""

    label: str = Field(min_length=1, max_length=100, examples=["nightly export"])
    scopes: list[Scope] = Field(min_length=1, max_length=50, examples=[["read"]])
    days: int = Field(default=90, ge=1, le=3660)


class TokenMade(BaseModel):
    """A token just made."""

    id: str
    token: str = Field(description="Send it as `Authorization: Bearer TOKEN`; it is not shown again")
    scopes: list[str]
    expires_at: datetime


class AuditView(BaseModel):
    """A change that somebody made."""

    id: int
    at: datetime
    actor: str
    action: str
    reference: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@routes.get("/me", needs=SELF)
def show_me(call: Call) -> Me:
    """Who is logged on, and what is permitted."""
    caller = call.caller
    return Me(
        name=caller.name, role=caller.role, permissions=sorted(caller.permissions),
        must_change_password=caller.must_change, csrf_token=csrf_token(caller) if caller.session else None,
    )  # fmt: skip


@routes.put("/me/password", needs=SELF, status=204, problems=[409, 429], slow=True)
def change_my_password(call: Call, body: PasswordChange) -> None:
    """Choose another password. All sessions end; tokens stay."""
    call.request.app.state.logon_paces.take("", call.caller.name, call.now)
    if not call.caller.session:
        raise Problem(403, "a password is changed in a session, not by a token")
    try:
        persons.change_password(call.operator.engine, call.caller.name, body.old, body.new, call.now)
    except WrongPassword as no:
        raise Problem(409, str(no)) from None
    except (PersonError, UnfitPassword) as no:
        raise Problem(422, str(no)) from None
    call.web.gate.forget()


@routes.get("/people", needs="people.read")
def list_people(call: Call, paging: PageOf) -> Page[PersonView]:
    """Everybody who may log on."""
    person = table(Person)
    return page(call, PersonView, select(person), [person.c.name], paging, _person)


def _person(row: Any) -> PersonView:
    return PersonView(
        name=row.name, role=row.role, status=row.status, must_change_password=row.must_change,
        created_at=row.created_at, last_logon_at=row.logon_at,
    )  # fmt: skip


def _view(connection: Connection, name: str) -> PersonView:
    row = persons.person_row(connection, name)
    if row is None:
        raise Problem(404, f"user {name}: there is none")
    return _person(row)


@routes.get("/people/{name}", needs="people.read")
def show_person(call: Call, name: Name) -> PersonView:
    """Somebody who may log on."""
    return _view(call.connection, name)


@routes.post("/people", needs="people.write", status=201, problems=[409], slow=True, model=PersonMade)
def create_person(call: Call, body: NewPersonForm) -> Answer:
    """Let somebody in. The answer has a password for one logon."""
    password = one_time_password()

    def make(connection: Connection) -> PersonMade:
        try:
            persons.create_person(connection, body.name, body.role, password, call.now, actor=call.caller.actor)
        except PersonTaken as no:
            raise Problem(409, str(no)) from None
        except (PersonError, UnknownRole) as no:
            raise Problem(422, str(no)) from None
        return PersonMade(**_view(connection, body.name).model_dump(), one_time_password=password.text)

    return Answer(call.write(make), 201, {"Location": f"/api/v1/people/{body.name}"})


@routes.patch("/people/{name}", needs="people.write", problems=[409, 412, 428])
def change_person(call: Call, name: Name, body: PersonChange, if_match: IfMatch) -> PersonView:
    """Give somebody another role, or disable them. Their sessions end."""

    def change(connection: Connection) -> PersonView:
        call.require_match(_view(connection, name), if_match)
        try:
            if body.role is not None:
                persons.set_role(connection, name, body.role, call.now, actor=call.caller.actor)
            if body.status is not None:
                persons.set_status(connection, name, body.status, call.now, actor=call.caller.actor)
        except UnknownRole as no:
            raise Problem(422, str(no)) from None
        except PersonError as no:
            raise Problem(409, str(no)) from None
        return _view(connection, name)

    changed = call.write(change)
    call.web.gate.forget()
    return changed


@routes.post("/people/{name}/password", needs="people.write", slow=True)
def reset_password(call: Call, name: Name) -> PersonMade:
    """Give somebody a password for one logon. Their sessions end."""
    password = one_time_password()

    def change(connection: Connection) -> PersonMade:
        _view(connection, name)
        persons.reset_password(connection, name, password, call.now, actor=call.caller.actor)
        return PersonMade(**_view(connection, name).model_dump(), one_time_password=password.text)

    changed = call.write(change)
    call.web.gate.forget()
    return changed


@routes.get("/tokens", needs=SELF)
def list_tokens(
    call: Call,
    paging: PageOf,
    everybodys: Annotated[bool, Query(description="Not one's own alone; needs people.read")] = False,
) -> Page[TokenView]:
    """Tokens, newest first, without the tokens themselves."""
    if everybodys and "people.read" not in call.caller.permissions:
        raise Problem(403, "everybodys: needs the permission people.read")
    token, person = table(ApiToken), table(Person)
    columns = [column for column in token.c if column.name != "secret_digest"]
    query = select(*columns, person.c.name.label("person")).join(person, person.c.id == token.c.person_id)
    if not everybodys:
        query = query.where(token.c.person_id == call.caller.person)
    return page(call, TokenView, query, [token.c.id], paging, _token, newest_first=True)


def _token(row: Any) -> TokenView:
    names = ("id", "person", "label", "scopes", "created_at", "expires_at", "revoked_at", "used_at")
    return TokenView(**{name: getattr(row, name) for name in names})


@routes.post("/tokens", needs=SELF, status=201, model=TokenMade)
def create_token(call: Call, body: TokenForm) -> Answer:
    """Make a token for oneself, in a session: a token makes no other tokens."""
    if not call.caller.session or call.caller.must_change:
        raise Problem(403, "tokens are made in a session with a password of one's own, not by a token")

    def make(connection: Connection) -> tokens.NewToken:
        validity = timedelta(days=body.days)
        try:
            return tokens.create_token(
                connection, call.caller.name, body.label, body.scopes, validity, call.now, actor=call.caller.actor
            )
        except (PersonError, UnknownRole) as no:
            raise Problem(422, str(no)) from None

    made = call.write(make)
    view = TokenMade(id=made.id, token=made.secret, scopes=made.scopes, expires_at=made.expires_at)
    return Answer(view, 201)


@routes.delete("/tokens/{token}", needs=SELF, status=204, problems=[409])
def revoke_token(call: Call, token: Identifier) -> None:
    """End a token of one's own; anybody's with the permission people.write."""

    def change(connection: Connection) -> None:
        row = connection.execute(select(table(ApiToken)).where(table(ApiToken).c.id == token)).first()
        if row is None or (row.person_id != call.caller.person and "people.write" not in call.caller.permissions):
            raise Problem(404, f"token {token}: you have none of this id")
        try:
            tokens.revoke_token(connection, token, call.now, actor=call.caller.actor)
        except UnknownPerson as no:
            raise Problem(404, str(no)) from None
        except PersonError as no:
            raise Problem(409, str(no)) from None

    call.write(change)
    call.web.gate.forget()


@routes.get("/audit", needs="audit.read")
def list_audit(
    call: Call,
    paging: PageOf,
    actor: Annotated[str, Query(max_length=160, description="Such as person:erika")] = "",
    reference: Annotated[str, Query(max_length=320, description="Such as account/A-1001")] = "",
) -> Page[AuditView]:
    """Who changed what, newest first."""
    entry = table(AuditEntry)
    query = matching(select(entry), (entry.c.actor, actor), (entry.c.reference, reference))

    def make(row: Any) -> AuditView:
        return AuditView(**{name: getattr(row, name) for name in AuditView.model_fields})

    return page(call, AuditView, query, [entry.c.id], paging, make, newest_first=True)
