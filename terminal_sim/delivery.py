"""The software receiving part (claim 1): order, check the grant, fetch, open, install, receipt.

Each step is in the journal before the next begins, so whatever breaks off goes on where it stopped, with the same
agreement, the same order and the same receipt: one delivery, however often it is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from signalling.clock import Clock
from signalling.documents import DeliveryGrant, DeliveryOrder, DeliveryReceipt
from signalling.messages import DeliveryGrantMessage, Signed
from signalling.proof import sign
from signalling.sealing import SealError, grant_info, unwrap_key
from terminal_sim import journal as lines
from terminal_sim.counters import checked_usage
from terminal_sim.download import InstallError, install
from terminal_sim.repository_client import FetchError, RepositoryClient, Transfer
from terminal_sim.repository_fetcher import Fault, Fetcher, Progress, TransferSettings
from terminal_sim.state import Agreement, State

RETRY_LATER = frozenset({"unreachable", "too_slow"})
"""Failures of the way, not of the goods: the delivery goes on later, until the grant expires."""


class BadGrant(ValueError):
    """A delivery grant that does not fit the agreement; nothing is fetched."""


class DeliveryPaused(Exception):
    """The repository cannot be reached now. The agreement stays where it is; try again."""


class DeliveryFailed(Exception):
    """The item cannot be installed. ``code`` and text go into the signed receipt."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass
class TransferCount:
    """Bytes a terminal fetched, and how often a download went on where it had stopped."""

    received: int = 0
    resumed: int = 0
    fetched: int = 0

    def add(self, transfer: Transfer) -> None:
        """Count one finished fetch."""
        self.received += transfer.received
        self.resumed += transfer.resumed_at > 0 and transfer.received > 0
        self.fetched += 1


def order(state: State, agreement: Agreement, now: int) -> None:
    """Sign the request that starts the transmission; it carries the hash of the agreement."""
    key = state.identity.wrap_key(agreement.id).public_key().public_bytes_raw()
    document = DeliveryOrder(agreement=agreement.id, agreement_digest=agreement.digest, wrap_key=key, at=now)
    signed = sign(state.identity.key, DeliveryOrder.PURPOSE, document.encode())
    state.record(lines.Ordered(at=now, agreement=agreement.id, order=signed))


def accept_grant(state: State, agreement: Agreement, message: DeliveryGrantMessage, now: int) -> None:
    """Keep the grant when the server signed it and it fits the agreement. Raises :class:`BadGrant`, ``ProofError``."""
    grant = state.trust.document(DeliveryGrant, message.grant)
    agreed = agreement.confirmed
    if (grant.agreement, grant.product, grant.release) != (agreed.agreement, agreed.product, agreed.release):
        raise BadGrant(
            f"the grant is for {grant.product} {grant.release} under agreement {grant.agreement}, "
            f"agreed was {agreed.product} {agreed.release} under {agreed.agreement}"
        )
    if agreed.delivers and not grant.target:
        raise BadGrant(f"the grant of {agreed.product} {agreed.release} names nothing to fetch")
    usage = checked_usage(state, message.usage, now)
    granted = lines.Granted(at=now, agreement=agreed.agreement, installation=grant.installation, grant=message.grant)
    # The grant comes last: were the usage grants cut off by a crash, the order would be sent again.
    state.record(*usage, granted)


class SoftwareReceiver:
    """Fetches and installs what was granted. Blocks; meant for a thread, one delivery of a terminal at a time."""

    def __init__(
        self, state: State, clock: Clock, *, settings: TransferSettings | None = None, fault: Fault | None = None
    ) -> None:
        self._state = state
        self._clock = clock
        self._settings = settings
        self.fault = fault
        self.count = TransferCount()

    def receive(self, agreement: Agreement, progress: Progress | None = None) -> None:
        """Bring the granted item into its place; touches files only, no journal.

        Raises :class:`DeliveryPaused` and :class:`DeliveryFailed`.
        """
        grant = agreement.granted()
        if not grant.target:
            return
        package = self._fetch(grant, progress)
        try:
            key = self._content_key(agreement, grant)
            install(package, grant.sealed, key, self._state.items_folder, grant.product, grant.release)
        except InstallError as error:
            raise DeliveryFailed(error.code, str(error)) from error
        except SealError as error:
            raise DeliveryFailed("not_opened", str(error)) from error
        except OSError as error:
            raise DeliveryFailed("disk", f"{grant.product} {grant.release}: {error.strerror}") from error
        package.unlink(missing_ok=True)

    def _content_key(self, agreement: Agreement, grant: DeliveryGrant) -> bytes | None:
        if not grant.sealed:
            return None
        return unwrap_key(grant.content_key, self._state.identity.wrap_key(agreement.id), grant_info(agreement.id))

    def _fetch(self, grant: DeliveryGrant, progress: Progress | None) -> Path:
        folder = self._state.fetch_folder
        fetcher = Fetcher(self._settings, ca_file=self._ca_file(), fault=self.fault)
        trust = self._state.trust
        try:
            client = RepositoryClient(
                folder, trust.repository_urls, trust.tuf_root.encode(), self._clock, fetcher=fetcher
            )
            path = client.fetch(grant.target, grant.sha256, grant.length, folder / "targets", progress)
        except FetchError as error:
            if error.code in RETRY_LATER:
                raise DeliveryPaused(str(error)) from error
            raise DeliveryFailed(error.code, str(error)) from error
        except OSError as error:
            raise DeliveryFailed("disk", f"{grant.target}: {error.strerror}") from error
        finally:
            fetcher.close()
        if client.last_transfer is not None:
            self.count.add(client.last_transfer)
        return path

    def _ca_file(self) -> Path | None:
        """The pinned certificates for HTTPS, in a file because OpenSSL reads them there."""
        trust = self._state.trust
        if not trust.ca_pem:
            return None
        folder = self._state.fetch_folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "ca.pem"
        if not path.exists() or path.read_text() != trust.ca_pem:
            path.write_text(trust.ca_pem)
        return path


def succeeded(state: State, agreement: Agreement, now: int) -> None:
    """The item is in its place: write the signed receipt."""
    grant = agreement.granted()
    before = state.item_of(grant.product)
    state.record(
        lines.Installed(
            at=now,
            agreement=agreement.id,
            installation=grant.installation,
            product=grant.product,
            release=grant.release,
            receipt=_receipt(state, grant, "", now),
            replaces=before.installation if before is not None else "",
        )
    )


def failed(state: State, agreement: Agreement, failure: DeliveryFailed, now: int) -> None:
    """The item could not be installed: the signed receipt takes the charge back."""
    grant = agreement.granted()
    reason = f"{failure.code}: {failure}"[:250]
    state.record(
        lines.Failed(
            at=now,
            agreement=agreement.id,
            installation=grant.installation,
            reason=reason,
            receipt=_receipt(state, grant, reason, now),
        )
    )


def _receipt(state: State, grant: DeliveryGrant, failure: str, now: int) -> Signed:
    document = DeliveryReceipt(
        agreement=grant.agreement,
        installation=grant.installation,
        outcome="failed" if failure else "installed",
        reason=failure,
        at=now,
    )
    return sign(state.identity.key, DeliveryReceipt.PURPOSE, document.encode())
