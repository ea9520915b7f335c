"""Roaming: what networks that our subscribers visit ask of us. A partner calls with a token of the user it is given."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from operator_server.visited.faults import VisitedError
from operator_server.visited.home import Home, Wanted
from operator_server.visited.notices import tell_of_new
from operator_server.visited.partners import calling_partner
from operator_server.visited.records import Claim
from operator_server.web.api.forms import Form, Identifier
from operator_server.web.calls import Answer, Call
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes
from signalling.codes.table import FeatureCode
from signalling.messages import Signed

routes = Routes("Roaming", "/api/v1/roaming")

PERMISSION = "roaming.settle"


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    return value


Bytes = Annotated[str, AfterValidator(_base64), Field(max_length=48_000, description="Base64")]
Signature = Annotated[str, AfterValidator(_base64), Field(min_length=88, max_length=88, description="Base64")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@-]{1,64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
MicrosOwed = Annotated[int, Field(ge=0, le=2**63 - 1, description="Micros: millionths of the major unit")]
Ef = Annotated[int, Field(ge=1, le=64, description="Number of the feature")]


class SignedForm(Form):
    """A document and its Ed25519 signature."""

    document: Bytes
    signature: Signature

    def signed(self) -> Signed:
        """The bytes."""
        return Signed(base64.b64decode(self.document), base64.b64decode(self.signature))


class CodeView(BaseModel):
    """A feature code."""

    feature: str
    title: str
    activate: str
    deactivate: str
    menu: str
    supported: bool
    ef: int


class VouchedView(BaseModel):
    """Who registered: its key, and the codes that its user knows."""

    terminal: str
    public_key: str
    language: str
    codes: list[CodeView]


class QuoteForm(Form):
    """A feature that costs something: what we are to owe for it."""

    terminal: Id
    feature: Name
    ef: Ef
    amount: MicrosOwed
    currency: Currency


class SignedView(BaseModel):
    """Our signed quote."""

    document: str
    signature: str


class DeclineForm(Form):
    """A quote that the subscriber did not accept."""

    terminal: Id
    quote: Id


class RecordForm(Form):
    """A settlement record."""

    id: Id
    visited: Id
    home: Id
    terminal: Id
    feature: Name
    ef: Ef
    quote: Id
    agreement: Id
    amount: MicrosOwed
    currency: Currency
    agreed_at: int = Field(ge=0, le=2**53 - 1, description="Microseconds since 1970 in UTC")
    confirmation: SignedForm


class SettledView(BaseModel):
    """The record is kept; the feature may be unlocked by this key."""

    agreement_digest: str
    key: str


class NewFeaturesForm(Form):
    """New features of the visited network, for a subscriber whose mobile has no display."""

    terminal: Id
    features: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(min_length=1, max_length=100)


def _home(call: Call) -> Home:
    return Home(call.operator, call.web.offers)


def _refused(no: VisitedError) -> Problem:
    return Problem(403 if no.code == "unknown_network" else 409, f"{no.code}: {no.reason}")


def _network(call: Call) -> str:
    try:
        return str(calling_partner(call.connection, call.caller.person).network)
    except VisitedError as no:
        raise _refused(no) from None


@routes.post("/registrations", needs=PERMISSION, problems=(409,))
def register_roamer(call: Call, form: SignedForm) -> VouchedView:
    """Vouch for a subscriber of ours who registers in the caller's network."""
    network, home = _network(call), _home(call)
    try:
        told = call.write(lambda c: home.vouch(c, network, form.signed(), call.now))
    except VisitedError as no:
        raise _refused(no) from None
    return VouchedView(
        terminal=told.terminal,
        public_key=base64.b64encode(told.public_key).decode(),
        language=told.language,
        codes=[_code(each) for each in told.codes],
    )


@routes.post("/quotes", needs=PERMISSION, problems=(409,))
def quote_roamer(call: Call, form: QuoteForm) -> SignedView:
    """Quote our subscriber what a feature costs in the caller's network."""
    network, home = _network(call), _home(call)
    wanted = Wanted(form.feature, form.ef, form.amount, form.currency)
    try:
        quoted = call.write(lambda c: home.quote(c, network, form.terminal, wanted, call.now))
    except VisitedError as no:
        raise _refused(no) from None
    return SignedView(
        document=base64.b64encode(quoted.document).decode(), signature=base64.b64encode(quoted.signature).decode()
    )


@routes.post("/declines", needs=PERMISSION, status=204, problems=(409,))
def decline_roamer(call: Call, form: DeclineForm) -> None:
    """Note that our subscriber did not accept a quote."""
    network, home = _network(call), _home(call)
    try:
        call.write(lambda c: home.decline(c, network, form.terminal, form.quote, call.now))
    except VisitedError as no:
        raise _refused(no) from None


@routes.put("/records/{record}", needs=PERMISSION, problems=(409,))
def settle_roamer(call: Call, record: Identifier, form: RecordForm) -> SettledView:
    """Take a settlement record, once however often it is put; it is on the disk when this is answered."""
    network, home = _network(call), _home(call)
    values = form.model_dump() | {"confirmation": form.confirmation.signed()}
    if form.id != record or form.visited != network:
        raise Problem(409, f"bad_record: record {form.id} is not {record} of {network}")
    try:
        settled = call.write(lambda c: home.settle(c, Claim(**values), call.now))
    except VisitedError as no:
        raise _refused(no) from None
    return SettledView(
        agreement_digest=base64.b64encode(settled.agreement_digest).decode(), key=base64.b64encode(settled.key).decode()
    )


@routes.post("/notices", needs=PERMISSION, status=204, problems=(409,))
def notify_roamer(call: Call, form: NewFeaturesForm) -> Answer:
    """Tell our subscriber by mail which features are new in the caller's network."""
    network = _network(call)
    try:
        tell_of_new(call.operator, network, form.terminal, form.features, call.now)
    except VisitedError as no:
        raise _refused(no) from None
    return Answer(None, 204)


def _code(each: FeatureCode) -> CodeView:
    return CodeView(
        feature=each.feature, title=each.title, activate=each.activate, deactivate=each.deactivate, menu=each.menu,
        supported=each.supported, ef=each.ef,
    )  # fmt: skip
