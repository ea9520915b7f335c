"""How a visited network reaches home: over home's HTTP API with a scoped token, or directly where it is home itself."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import urllib3
from msgspec import Meta
from sqlalchemy import Row

from operator_server.delivery.vault import KeyVault
from operator_server.visited.faults import HomeRefused, HomeUnreachable
from operator_server.visited.home import Settled, Vouched, Wanted
from operator_server.visited.partners import token_of
from operator_server.visited.records import Claim
from signalling.codes.table import FeatureCode
from signalling.messages import Signed

SECONDS = 10.0
LONGEST = 256 * 1024
PATH = "/api/v1/roaming"


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


class _Problem(msgspec.Struct):
    detail: str
    status: int = 0


class _Vouched(msgspec.Struct):
    terminal: str
    public_key: str
    language: str
    codes: Annotated[list[FeatureCode], Meta(max_length=100)]


class _Quoted(msgspec.Struct):
    document: str
    signature: str


class _Settled(msgspec.Struct):
    agreement_digest: str
    key: str


S = TypeVar("S")


class RemoteHome:
    """A partner's API."""

    def __init__(self, network: str, url: str, ca_pem: str, token: str) -> None:
        self._network, self._url = network, url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        options: dict[str, Any] = {}
        if url.startswith("https:"):
            options["ssl_context"] = ssl.create_default_context(cadata=ca_pem or None)
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=SECONDS, read=SECONDS), num_pools=1, **options
        )

    def vouch(self, signed: Signed) -> Vouched:
        """See :class:`HomeSide`."""
        told = self._ask("POST", "/registrations", _signed(signed), _Vouched)
        return Vouched(told.terminal, self._bytes(told.public_key, 32), told.language, told.codes)

    def quote(self, terminal: str, wanted: Wanted) -> Signed:
        """See :class:`HomeSide`."""
        body = {"terminal": terminal} | wanted._asdict()
        told = self._ask("POST", "/quotes", body, _Quoted)
        return Signed(self._bytes(told.document), self._bytes(told.signature, 64))

    def decline(self, terminal: str, quote: str) -> None:
        """See :class:`HomeSide`."""
        self._ask("POST", "/declines", {"terminal": terminal, "quote": quote}, None)

    def settle(self, claim: Claim) -> Settled:
        """See :class:`HomeSide`."""
        body = msgspec.to_builtins(claim) | {"confirmation": _signed(claim.confirmation)}
        told = self._ask("PUT", f"/records/{claim.id}", body, _Settled)
        return Settled(self._bytes(told.agreement_digest, 32), self._bytes(told.key, 16))

    def notify(self, terminal: str, titles: Sequence[str]) -> None:
        """See :class:`HomeSide`."""
        self._ask("POST", "/notices", {"terminal": terminal, "features": list(titles)}, None)

    def _ask(self, method: str, path: str, body: object, kind: type[S] | None) -> S:
        try:
            answer = self._pool.request(
                method, f"{self._url}{PATH}{path}", body=msgspec.json.encode(body), headers=self._headers,
                redirect=False, preload_content=False,
            )  # fmt: skip
            try:
                data = answer.read(LONGEST + 1)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise HomeUnreachable(f"{self._network} at {self._url} does not answer: {error}") from None
        if len(data) > LONGEST:
            raise HomeUnreachable(f"{self._network} answers more than {LONGEST} bytes")
        if answer.status in (404, 409, 422):
            detail = self._decoded(data, _Problem).detail
            code, colon, reason = detail.partition(": ")
            raise HomeRefused(code, reason) if colon and " " not in code else HomeRefused("refused", detail)
        if answer.status not in (200, 201, 204):
            raise HomeUnreachable(f"{self._network} answers {answer.status}{_detail(data)}")
        return self._decoded(data, kind) if kind is not None else None  # type: ignore[return-value]  # None for None

    def _decoded(self, data: bytes, kind: type[S]) -> S:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise HomeUnreachable(f"{self._network} answers what cannot be read: {error}") from None

    def _bytes(self, text: str, length: int | None = None) -> bytes:
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise HomeUnreachable(f"{self._network} answers what cannot be read: {error}") from None
        if length is not None and len(data) != length:
            raise HomeUnreachable(f"{self._network} answers {len(data)} bytes where {length} are needed")
        return data


def remote_home(vault: KeyVault, partner: Row[Any]) -> RemoteHome:
    """The home network of a partner's mobiles. Raises :class:`operator_server.visited.faults.VisitedError`."""
    return RemoteHome(partner.network, partner.url, partner.ca_pem, token_of(vault, partner))


def _signed(signed: Signed) -> dict[str, str]:
    return {
        "document": base64.b64encode(signed.document).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }


def _detail(data: bytes) -> str:
    try:
        return f": {msgspec.json.decode(data, type=_Problem).detail}"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
