"""How an operator reaches a partner: the interconnect, over TLS 1.3 in which each side shows its certificate."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import urllib3
from sqlalchemy import Row

from operator_server.context import Operator
from operator_server.visited import wire
from operator_server.visited.faults import HomeRefused, HomeUnreachable, VisitedError
from operator_server.visited.identity import Identity, fingerprint_of, identity_of, shown
from operator_server.visited.records import Claim
from operator_server.visited.wire import Direction, Line, Settled, Vouched, Wanted
from signalling.messages import Signed

SECONDS = 10.0
MOST_SECONDS = 20.0
MOST_PAGES = 200


class HomeSide(Protocol):
    """Home, as the base station asks it. Raises :class:`HomeRefused`, :class:`HomeUnreachable`."""

    def vouch(self, signed: Signed) -> Vouched:
        """Who registers."""

    def quote(self, terminal: str, wanted: Wanted) -> Signed:
        """What the subscriber is to pay for a feature."""

    def decline(self, terminal: str, quote: str) -> None:
        """The subscriber said no."""

    def settle(self, claim: Claim) -> Settled:
        """Hand over a record; the key of the feature comes back."""

    def notify(self, terminal: str, titles: Sequence[str]) -> None:
        """Tell a subscriber without a display what is new here, by other means."""


class PeerSide(Protocol):
    """A partner, as reconciliation asks it. Raises :class:`HomeRefused`, :class:`HomeUnreachable`."""

    def statement(self, month: str, direction: Direction) -> list[Line]:
        """What the partner holds of a month in its ``direction``."""

    def dispute(self, disputes: wire.Disputes) -> None:
        """Tell the partner on which records we differ."""


S = TypeVar("S")


class RemotePeer:
    """A partner's role ``roaming``: the one at ``url`` that shows ``certificate`` (PEM), and no other."""

    def __init__(self, network: str, url: str, certificate: str, own: Identity) -> None:
        self._network, self._url, self._own = network, url, own
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The certificate itself is known; whose name stands in it says no more.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate)
        context.load_cert_chain(own.file)
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=SECONDS, read=SECONDS), num_pools=1, ssl_context=context,
            assert_hostname=False, assert_fingerprint=fingerprint_of(certificate),
        )  # fmt: skip

    def hello(self) -> wire.Greeting:
        """As whom the partner knows us."""
        return self._ask("hello", wire.Hello(), wire.Greeting)

    def vouch(self, signed: Signed) -> Vouched:
        """See :class:`HomeSide`."""
        return self._ask("registrations", signed, Vouched)

    def quote(self, terminal: str, wanted: Wanted) -> Signed:
        """See :class:`HomeSide`."""
        return self._ask("quotes", wire.Asking(terminal, wanted), Signed)

    def decline(self, terminal: str, quote: str) -> None:
        """See :class:`HomeSide`."""
        self._ask("declines", wire.Declining(terminal, quote), wire.Done)

    def settle(self, claim: Claim) -> Settled:
        """See :class:`HomeSide`."""
        return self._ask("records", claim, Settled)

    def notify(self, terminal: str, titles: Sequence[str]) -> None:
        """See :class:`HomeSide`."""
        self._ask("notices", wire.Notice(terminal, list(titles)), wire.Done)

    def statement(self, month: str, direction: Direction) -> list[Line]:
        """See :class:`PeerSide`."""
        return [line for page in self._pages(month, direction) for line in page]

    def _pages(self, month: str, direction: Direction) -> Iterator[list[Line]]:
        after = ""
        for _ in range(MOST_PAGES):
            told = self._ask("statements", wire.StatementWanted(month, direction, after), wire.Statement)
            ids = [line.id for line in told.lines]
            if ids != sorted(set(ids)) or (ids and ids[0] <= after):
                raise HomeUnreachable(f"{self._network} tells records twice or out of order")
            yield told.lines
            if not told.more or not ids:
                return
            after = ids[-1]
        raise HomeUnreachable(f"{self._network} tells more than {MOST_PAGES * wire.MOST_LINES} records")

    def dispute(self, disputes: wire.Disputes) -> None:
        """See :class:`PeerSide`."""
        self._ask("disputes", disputes, wire.Done)

    def _ask(self, what: str, body: object, kind: type[S]) -> S:
        try:
            answer = self._pool.request(
                "POST", f"{self._url}{wire.PATH}/{what}", body=wire.encode(body),
                headers={"Content-Type": "application/json"}, redirect=False, preload_content=False,
            )  # fmt: skip
            try:
                data = self._read(answer)
            finally:
                answer.release_conn()
        except urllib3.exceptions.SSLError as error:
            raise HomeUnreachable(
                f"{self._network} at {self._url} does not show the certificate of its introduction: {error}"
            ) from None
        except urllib3.exceptions.HTTPError as error:
            raise HomeUnreachable(f"{self._network} at {self._url} does not answer: {error}") from None
        if len(data) > wire.MOST_ANSWER:
            raise HomeUnreachable(f"{self._network} answers more than {wire.MOST_ANSWER} bytes")
        if answer.status != 200:
            raise self._refusal(answer.status, data)
        try:
            return wire.decode(data, kind)
        except VisitedError as no:
            raise HomeUnreachable(f"{self._network} answers what cannot be read: {no.reason}") from None

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """The body, however slowly it comes, up to the most in bytes and seconds."""
        data, end = bytearray(), time.monotonic() + MOST_SECONDS
        while len(data) <= wire.MOST_ANSWER and (piece := answer.read1(64 * 1024)):
            data += piece
            if time.monotonic() > end:
                answer.close()
                raise HomeUnreachable(f"{self._network} takes more than {MOST_SECONDS:g} seconds for an answer")
        return bytes(data)

    def _refusal(self, status: int, data: bytes) -> VisitedError:
        try:
            no = msgspec.json.decode(data, type=wire.Refused)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return HomeUnreachable(f"{self._network} answers {status}")
        if status in (404, 409, 422):
            return HomeRefused(no.code, no.reason)
        if no.code == "unknown_peer":
            return HomeUnreachable(
                f"{self._network} does not know our certificate {shown(self._own.fingerprint)}: give it the file of "
                "`tollgate visited introduction`"
            )
        return HomeUnreachable(f"{self._network} answers {status}, {no.code}: {no.reason}")


def remote_peer(operator: Operator, partner: Row[Any]) -> RemotePeer:
    """The interconnect to a partner. Raises :class:`operator_server.visited.faults.VisitedError`."""
    if not partner.certificate or not partner.url:
        raise VisitedError(
            "unknown_network",
            f"network {partner.network}: has no certificate here; `tollgate visited partner` takes its introduction",
        )
    return RemotePeer(partner.network, partner.url, partner.certificate, identity_of(operator))
