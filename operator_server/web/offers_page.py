"""The menu of a device's user: the same offers, quotes and agreements as on a terminal, by plain forms.

``GET /o/TOKEN`` shows what the link is for, ``POST /o/TOKEN`` opens it, once: mail filters that follow links use none
up, and the cookie of the session is set by a page of ours, so that ``SameSite=Strict`` lets it through. From then on
the session's cookie says who asks, a stamp made from its secret says that a form is ours, and the confirmation document
is posted back with a stamp of its own. All work on the database runs in threads.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection
from starlette.routing import Route

from charging.agreements import NotAgreed
from offers.catalogue import Offer
from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import Deliveries
from operator_server.desk import Refused, Visitor
from operator_server.devices.evidence import WebProof
from operator_server.devices.invitations import send_again
from operator_server.devices.links import Session, end_session, find_link, find_session, open_session, state_of
from operator_server.devices.visitors import NotServed, visitor_of
from operator_server.negotiation import book
from operator_server.negotiation.desk import Negotiation
from operator_server.negotiation.menu import learn, menu_of
from operator_server.offering.live import LiveOffers
from operator_server.store.feed import record
from operator_server.store.store import transact
from operator_server.web.guard import Unacceptable, check_stamp, stamp
from operator_server.web.offers_shell import Call, Closed, Page, Shell
from operator_server.web.offers_view import View, limit_micros, limit_text
from operator_server.web.texts import REASONS
from signalling.clock import to_micros
from signalling.documents import Confirmation, Quote, decode_document, document_digest
from signalling.envelope import BodyError
from signalling.ids import new_id
from signalling.messages import CounterProposal, Decline, Later, Reject, Signed
from signalling.messages import Request as RequestSignal
from signalling.money import MoneyError

FORM = "form"
CONFIRMATION = "confirmation"

_log = logging.getLogger(__name__)


class OffersPage(Shell):
    """The page over an operator's live offers; ``routes`` are for the web application."""

    def __init__(self, operator: Operator, offers: LiveOffers) -> None:
        super().__init__(operator, offers)
        settings, keys = operator.settings, operator.keys
        self._negotiation = Negotiation(offers, keys, settings)
        usage = UsageGrants(TariffVersions(lambda: offers.tariffs), keys.signing, settings)
        self._deliveries = Deliveries(keys, operator.vault, usage, settings)

    def routes(self) -> list[Route]:
        """What is to be served."""
        return [
            Route("/o/{token}", self.endpoint(self.show_link), methods=["GET"]),
            Route("/o/{token}", self.endpoint(self.open_link), methods=["POST"]),
            Route("/o/{token}/again", self.endpoint(self.new_link), methods=["POST"]),
            Route("/offers", self.endpoint(self.show_menu), methods=["GET"]),
            Route("/offers", self.endpoint(self.decide), methods=["POST"]),
            Route("/offers/quote/{quote}", self.endpoint(self.show_quote), methods=["GET"]),
            Route("/offers/quote/{quote}", self.endpoint(self.answer_quote), methods=["POST"]),
            Route("/offers/taken/{agreement}", self.endpoint(self.show_taken), methods=["GET"]),
        ]

    # The link.

    def show_link(self, call: Call) -> Page:
        """What the link is for; it stays unused."""
        with self._operator.engine.connect() as connection:
            return self._link_page(connection, call, self._operator.clock.now())

    def _link_page(self, connection: Connection, call: Call, now: datetime) -> Page:
        token = call.path["token"]
        link = find_link(connection, token)
        if link is None:
            return self.message(call, "unknown_title", "unknown_text", 404)
        try:
            language = visitor_of(connection, link.terminal_id, now).language
        except NotServed:
            language = ""
        until = self.view(language, call.accept).when(link.expires_at)
        shown = {"token": token, "until": until, "language": language}
        match state_of(link, now):
            case "open":
                return self.message(call, "open_title", "open_text", 200, openable=True, **shown)
            case "used":
                return self.message(call, "used_title", "used_text", 410, go_on=True, **shown)
            case "expired":
                return self.message(call, "expired_title", "expired_text", 410, **shown)

    def open_link(self, call: Call) -> Page:
        """Use the link up and open a session, whatever cookie came with the request."""
        now = self._operator.clock.now()
        validity = timedelta(seconds=self._settings.invitations.session_validity)

        def opened(connection: Connection) -> Page:
            link = find_link(connection, call.path["token"])
            secret = None if link is None else open_session(connection, link, now, validity)
            if link is None or secret is None:
                return self._link_page(connection, call, now)
            record(
                connection, now, "link_opened", terminal=link.terminal_id, subscriber=link.subscriber_id,
                reference=link.id,
            )  # fmt: skip
            return Page(location="/offers", cookie=secret)

        return transact(self._operator.engine, opened)

    def new_link(self, call: Call) -> Page:
        """Send another link in place of one that cannot be opened any more."""
        now = self._operator.clock.now()

        def again(connection: Connection) -> Page:
            link = find_link(connection, call.path["token"])
            if link is None or state_of(link, now) == "open":
                return self._link_page(connection, call, now)
            if send_again(connection, self._operator, link, now, self._offers):
                return self.message(call, "again_title", "again_done", 200)
            return self.message(call, "again_no", "again_no_text", 409)

        return transact(self._operator.engine, again)

    # The menu.

    def _caller(self, connection: Connection, call: Call, now: datetime) -> tuple[Session, Visitor, View]:
        """Who asks. Raises :class:`Closed`, also when the device has another user since the link was sent."""
        session = find_session(connection, call.cookie, now)
        if session is None:
            raise Closed
        try:
            visitor = visitor_of(connection, session.terminal, now)
        except NotServed:
            raise Closed from None
        if visitor.subscriber != session.subscriber:
            raise Closed
        view = self.view(visitor.language, call.accept)
        return session, msgspec.structs.replace(visitor, language=view.language), view

    def _read(self, call: Call, show: Callable[[Connection, Call, Visitor, View, datetime], Page]) -> Page:
        now = self._operator.clock.now()
        with self._operator.engine.connect() as connection:
            _, visitor, view = self._caller(connection, call, now)
            return show(connection, call, visitor, view, now)

    def _write(self, call: Call, do: Callable[[Connection, Session, Visitor, datetime], Page]) -> Page:
        """One transaction, for a form of ours. Its ``NotAgreed`` and the like roll it back and go on to the caller."""
        now = self._operator.clock.now()

        def done(connection: Connection) -> Page:
            session, visitor, _ = self._caller(connection, call, now)
            check_stamp(call.get("csrf"), call.cookie, FORM)
            learn(connection, self._offers, visitor)
            return do(connection, session, visitor, now)

        return transact(self._operator.engine, done)

    def show_menu(self, call: Call) -> Page:
        """The offers, and what the user has."""
        return self._read(call, self._menu)

    def _menu(
        self, connection: Connection, call: Call, visitor: Visitor, view: View, now: datetime, problem: str = ""
    ) -> Page:
        menu = menu_of(connection, self._offers, visitor, now)
        there = book.installed_products(connection, visitor.terminal)
        what, _, offer = call.note.partition(":")
        note = ""
        if what in ("later", "rejected", "declined"):
            note = view.text(f"noted_{what}", offer=view.title(offer))
        shown = {
            "view": view,
            "device": view.device(connection, visitor.terminal),
            "csrf": stamp(call.cookie, FORM),
            "note": note,
            "problem": problem,
            "offers": [
                view.offer(each, visitor, [n for n in each.needs if self._offers.product_of(n) not in there])
                for each in menu
            ],
            **view.have(connection, visitor, now),
        }
        return Page("menu.html", shown, 409 if problem else 200)

    def decide(self, call: Call) -> Page:
        """Request, reject or postpone an offer, or close the page."""
        try:
            return self._write(call, partial(self._decide, call))
        except (NotAgreed, Refused) as no:
            return self._read(replace(call, note=""), partial(self._with_problem, self._menu, no.code, no.reason))
        except MoneyError as no:
            return self._read(replace(call, note=""), partial(self._with_problem, self._menu, "bad_limit", str(no)))
        except BodyError:
            raise Unacceptable(400, "bad_form") from None

    def _with_problem(self, show: Callable[..., Page], code: str, reason: str, *args: Any) -> Page:
        view: View = args[3]
        _log.info("the offers page refuses: %s: %.300s", code, reason)
        return show(*args, problem=view.text(REASONS.get(code, "conflict")))

    def _decide(self, call: Call, connection: Connection, session: Session, visitor: Visitor, now: datetime) -> Page:
        offer, version, negotiation = call.get("offer"), call.get("version"), self._negotiation
        match call.get("action"):
            case "request":
                limit = limit_micros(call.get("limit"))
                message = RequestSignal(offer, version, call.get("mode"))
                quoted = negotiation.request(connection, visitor, message, now)
                answer = "quoted"
                quote = decode_document(Quote, quoted.quote.document)
                if limit is not None:
                    proposal = CounterProposal(quote.quote, quote.mode.mode, limit)
                    quoted = negotiation.counter_proposal(connection, visitor, proposal, now)
                    quote, answer = decode_document(Quote, quoted.quote.document), quoted.answer
                return Page(location=f"/offers/quote/{quote.quote}?note={answer}")
            case "later":
                negotiation.later(connection, visitor, Later(offer, version), now)
                return Page(location=f"/offers?note=later:{self._known(offer).id}")
            case "reject":
                negotiation.reject(connection, visitor, Reject(offer, version, "on the page"), now)
                return Page(location=f"/offers?note=rejected:{self._known(offer).id}")
            case "close":
                end_session(connection, session, now)
                return replace(self.message(call, "left_title", "left_text", 200), cookie="")
        raise Unacceptable(400, "bad_form")

    def _known(self, offer: str) -> Offer:
        current = self._offers.current(offer)
        if current is None:
            raise NotAgreed("unknown_offer", f"offer {offer!r} is not in the catalogue")
        return current.offer

    # The quote.

    def show_quote(self, call: Call) -> Page:
        """A quote with its terms, to confirm, to answer, or to leave."""
        return self._read(call, self._quote)

    def _quote(
        self, connection: Connection, call: Call, visitor: Visitor, view: View, now: datetime, problem: str = ""
    ) -> Page:
        row = book.quote_row(connection, call.path["quote"])
        if row is None or row.terminal_id != visitor.terminal or row.subscriber_id != visitor.subscriber:
            return self.message(call, "problem_title", "unknown", 404, back=True, language=view.language)
        if row.state != "open" or now >= row.expires_at:
            said = "quote_closed" if row.state != "open" else "quote_expired"
            return self.message(call, "problem_title", said, 409, back=True, language=view.language)
        quote = decode_document(Quote, row.document)
        document = Confirmation(
            agreement=new_id(to_micros(now)),
            quote=quote.quote,
            quote_digest=document_digest(row.document),
            mode=quote.mode.mode,
            at=to_micros(now),
            spending_limit=quote.spending_limit,
        ).encode()
        current = self._offers.current(row.offer_id)
        modes = (
            {}
            if current is None
            else self._offers.allowed_modes(current.offer, visitor.groups, view.language, visitor.currency)
        )
        shown = {
            "view": view,
            "device": view.device(connection, visitor.terminal),
            "csrf": stamp(call.cookie, FORM),
            "document": base64.urlsafe_b64encode(document).decode(),
            "seal": stamp(call.cookie, CONFIRMATION, document),
            "note": view.text(f"quote_{call.note}") if call.note in ("accepted", "countered") else "",
            "countered": call.note == "countered",
            "problem": problem,
            "quote": view.quote(quote),
            "modes": view.modes(modes),
            "limit": view.limit(modes),
            "limit_text": limit_text(quote.spending_limit, view.language),
        }
        return Page("quote.html", shown, 409 if problem else 200)

    def answer_quote(self, call: Call) -> Page:
        """Confirm a quote, propose something else, or leave."""
        try:
            return self._write(call, partial(self._answer, call))
        except (NotAgreed, Refused) as no:
            return self._read(replace(call, note=""), partial(self._with_problem, self._quote, no.code, no.reason))
        except MoneyError as no:
            return self._read(replace(call, note=""), partial(self._with_problem, self._quote, "bad_limit", str(no)))
        except BodyError:
            raise Unacceptable(400, "bad_form") from None

    def _answer(self, call: Call, connection: Connection, session: Session, visitor: Visitor, now: datetime) -> Page:
        quote, negotiation = call.path["quote"], self._negotiation
        match call.get("action"):
            case "confirm":
                return self._confirm(call, connection, session, visitor, now)
            case "propose":
                proposal = CounterProposal(quote, call.get("mode"), limit_micros(call.get("limit")))
                quoted = negotiation.counter_proposal(connection, visitor, proposal, now)
                following = decode_document(Quote, quoted.quote.document)
                return Page(location=f"/offers/quote/{following.quote}?note={quoted.answer}")
            case "decline":
                negotiation.decline(connection, visitor, Decline(quote), now)
                return Page(location="/offers?note=declined")
        raise Unacceptable(400, "bad_form")

    def _confirm(self, call: Call, connection: Connection, session: Session, visitor: Visitor, now: datetime) -> Page:
        """The agreement and its activation: both or neither."""
        try:
            document = base64.urlsafe_b64decode(call.get("document").encode())
        except binascii.Error:
            raise Unacceptable(400, "bad_form") from None
        check_stamp(call.get("seal"), call.cookie, CONFIRMATION, document)
        proof = WebProof(
            token=session.token,
            token_digest=session.token_digest,
            session=session.id,
            at=to_micros(now),
            posted=call.body,
        )
        signed = Signed(document, proof.encode())
        agreed = self._negotiation.agree(connection, visitor, signed, "web_token", now)
        self._deliveries.activate(connection, visitor, agreed, now)
        return Page(location=f"/offers/taken/{agreed.agreement}")

    def show_taken(self, call: Call) -> Page:
        """An agreement of this user on this device."""
        return self._read(call, self._taken)

    def _taken(self, connection: Connection, call: Call, visitor: Visitor, view: View, now: datetime) -> Page:
        row = book.agreement_row(connection, call.path["agreement"])
        if row is None or row.terminal_id != visitor.terminal or row.subscriber_id != visitor.subscriber:
            return self.message(call, "problem_title", "unknown", 404, back=True, language=view.language)
        quoted = book.quote_row(connection, row.quote_id)
        assert quoted is not None
        shown = {
            "view": view,
            "device": view.device(connection, visitor.terminal),
            "agreement": row.id,
            "quote": view.quote(decode_document(Quote, quoted.document)),
        }
        return Page("taken.html", shown)
