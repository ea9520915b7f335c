"""Cards by short messages: a line to a short message centre, SMPP 3.4 (smpplib), in a thread of its own.

The line binds as transceiver, sends what waits for cards, and brings what cards send to the desk. A message of a card
is acknowledged to the centre when what follows from it is in the store; a part of a longer one, when it is there. When
the line breaks it is built again; packets that were not acknowledged go out again, and the card takes each once.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from smpplib import consts
from smpplib.client import Client
from smpplib.exceptions import ConnectionError as LineBroken
from smpplib.exceptions import PDUError
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError
from twisted.logger import Logger

from operator_server.cards import channel
from operator_server.cards.desk import CardDesk
from operator_server.cards.smpp_pdu import UDHI, message_of, read_pdu, receipt_of, text_data, text_of
from operator_server.context import Operator
from operator_server.settings import SmsSettings
from operator_server.store.cards import CardPacketRow, card_row
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.tones.reports import note_receipt, note_submitted
from operator_server.tones.text_menu import TextMenu
from signalling.card.sms import DCS_CARD, PID_SIM_DOWNLOAD, UserData, decode_user_data
from signalling.card.tlv import CardError

log = Logger()

LARGEST_PDU = 64 * 1024
TURN_SECONDS = 1.0
LOOK_SECONDS = 0.1
ANSWER_SECONDS = 10.0
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
ATTEMPTS = 6
TRY_AGAIN = timedelta(seconds=15)
MOST_TEXTS = 1000
"""Texts that wait for the line; who gets none writes again."""

_NOW_AND_THEN = {consts.SMPP_ESME_RTHROTTLED, consts.SMPP_ESME_RMSGQFUL, consts.SMPP_ESME_RSYSERR}


class _Client(Client):  # type: ignore[misc]  # smpplib has no types
    """smpplib's client, with the host's name checked under TLS and a limit to what is read."""

    def _create_socket(self) -> socket.socket:
        raw = socket.create_connection((self.host, self.port), timeout=self.timeout)
        return self._ssl_context.wrap_socket(raw, server_hostname=self.host) if self._ssl_context else raw

    def connect(self) -> None:
        try:
            self._socket = self._create_socket()
        except OSError as error:
            raise LineBroken(str(error)) from None
        self.state = consts.SMPP_CLIENT_STATE_OPEN

    def _recv_exact(self, exact_size: int) -> bytes:
        if not 0 <= exact_size <= LARGEST_PDU:
            raise LineBroken(f"the centre announces a message of {exact_size} bytes")
        data: bytes = super()._recv_exact(exact_size)
        return data

    def read_pdu(self) -> Any:
        length = self._recv_exact(4)
        pdu = read_pdu(length + self._recv_exact(int.from_bytes(length, "big") - 4), self)
        if not pdu.is_error() and pdu.command in consts.STATE_SETTERS:
            self.state = consts.STATE_SETTERS[pdu.command]
        return pdu


class SmsLine:
    """The line of one process; ``start`` and ``stop`` it. ``state`` tells for people how it stands."""

    def __init__(self, operator: Operator, desk: CardDesk) -> None:
        self.state = "not started"
        self._operator = operator
        self._desk = desk
        self._settings: SmsSettings = operator.settings.sms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sms", daemon=True)
        self._unanswered: dict[int, tuple[int, str]] = {}
        self._menu = TextMenu(desk, operator.vault, operator.settings.nodes)
        self._texts: deque[tuple[str, str]] = deque(maxlen=MOST_TEXTS)

    def start(self) -> None:
        """Begin; the line is built in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Unbind and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            try:
                self._serve()
                delay = FIRST_DELAY
            except (LineBroken, PDUError, OSError, struct.error, ValueError, KeyError) as error:
                self.state = f"no line to the short message centre: {error}"
                log.warn("{state}; it is tried again in {delay} s", state=self.state, delay=delay)
                self._stopping.wait(delay)
                delay = min(delay * 2, LONGEST_DELAY)

    def _serve(self) -> None:
        settings = self._settings
        context = ssl.create_default_context() if settings.tls else None
        client = _Client(
            settings.host, settings.port, timeout=ANSWER_SECONDS, ssl_context=context, allow_unknown_opt_params=True
        )
        client.set_message_received_handler(self._received)
        client.set_message_sent_handler(self._answered)
        client.set_error_pdu_handler(self._answered)
        client.connect()
        try:
            client.bind_transceiver(system_id=settings.system_id, password=settings.password.get_secret_value())
            self.state = f"bound to {settings.host}:{settings.port}"
            log.info("the short message centre is {state}", state=self.state)
            self._turns(client)
            client.unbind()
        finally:
            client.state = consts.SMPP_CLIENT_STATE_OPEN
            client.disconnect()

    def _turns(self, client: _Client) -> None:
        due, heard = 0.0, time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + TURN_SECONDS
                self._transact(lambda c: self._desk.turn(c, self._operator.clock.now()))
            sent = self._send_waiting(client) + self._send_texts(client)
            if self._readable(client, 0 if sent else LOOK_SECONDS):
                client.read_once(auto_send_enquire_link=False)
                heard = time.monotonic()
            elif time.monotonic() - heard > self._settings.enquire_seconds:
                heard = time.monotonic()
                self._enquire(client)

    @staticmethod
    def _readable(client: _Client, seconds: float) -> bool:
        line = client._socket
        pending: Callable[[], int] = getattr(line, "pending", lambda: 0)
        return bool(pending()) or bool(select.select([line], [], [], seconds)[0])

    def _enquire(self, client: _Client) -> None:
        from smpplib import smpp

        client.send_pdu(smpp.make_pdu("enquire_link", client=client))

    # To cards.

    def _send_waiting(self, client: _Client) -> int:
        now = self._operator.clock.now()
        with self._operator.engine.connect() as connection:
            rows = channel.waiting(connection, "sms", now, most=50)
        for row in rows:
            if self._stopping.is_set():
                break
            self._send(client, row)
        return len(rows)

    def _send(self, client: _Client, row: Any) -> None:
        """A packet's parts, each answered before the next: a card cannot use parts that come without the others."""
        for part in channel.parts(row.packet, row.counter):
            status, name = self._submit(
                client, row.msisdn, part.encode(), esm_class=UDHI, protocol_id=PID_SIM_DOWNLOAD, data_coding=DCS_CARD,
                registered_delivery=1,
            )  # fmt: skip
            if status:
                self._not_taken(row, status)
                return
            now = self._operator.clock.now()
            self._transact(partial(note_submitted, terminal=row.terminal_id, packet=row.id, name=name, now=now))
            time.sleep(1 / self._settings.per_second)
        now = self._operator.clock.now()
        self._transact(lambda c: channel.mark_sent(c, [row.id], now))

    def _submit(self, client: _Client, number: str, data: bytes, **fields: Any) -> tuple[int, str]:
        """Hand a message to the centre; how it answers, and what it calls the message."""
        pdu = client.send_message(
            source_addr_ton=consts.SMPP_TON_INTL,
            source_addr_npi=consts.SMPP_NPI_ISDN,
            source_addr=self._settings.number.removeprefix("+"),
            dest_addr_ton=consts.SMPP_TON_INTL,
            dest_addr_npi=consts.SMPP_NPI_ISDN,
            destination_addr=number.removeprefix("+"),
            short_message=data,
            **fields,
        )
        return self._await(client, pdu.sequence)

    def _send_texts(self, client: _Client) -> int:
        """Answers of the menu of texts; one that the centre does not take is asked for again by its user."""
        count = len(self._texts)
        while self._texts:
            number, text = self._texts.popleft()
            data, coding = text_data(text)
            status, _ = self._submit(client, number, data, data_coding=coding)
            if status:
                log.warn("a text to {number} was not taken: {status:08X}", number=number, status=status)
        return count

    def _await(self, client: _Client, sequence: int) -> tuple[int, str]:
        end = time.monotonic() + ANSWER_SECONDS
        while sequence not in self._unanswered:
            left = end - time.monotonic()
            if left <= 0:
                raise LineBroken("the centre does not answer")
            if self._readable(client, left):
                client.read_once(auto_send_enquire_link=False)
        return self._unanswered.pop(sequence)

    def _answered(self, pdu: Any) -> None:
        if pdu.command == "submit_sm_resp":
            name = getattr(pdu, "message_id", None) or b""
            text = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
            self._unanswered[pdu.sequence] = pdu.status, text.rstrip("\x00")

    def _not_taken(self, row: Any, status: int) -> None:
        """The centre refuses: later again while that may help, else the packet has failed."""
        now, packets = self._operator.clock.now(), table(CardPacketRow)
        reason = f"the centre answers {status:08X}: {consts.DESCRIPTIONS.get(status, 'unknown')}"
        again = status in _NOW_AND_THEN and row.attempts + 1 < ATTEMPTS
        values: dict[str, Any] = {"attempts": row.attempts + 1, "reason": reason[:250]}
        values |= {"due_at": now + TRY_AGAIN} if again else {"state": "failed", "done_at": now}
        self._transact(lambda c: c.execute(update(packets).where(packets.c.id == row.id).values(**values)))
        log.warn("a packet to card {card} was not taken: {reason}", card=row.terminal_id, reason=reason)

    # From cards.

    def _received(self, pdu: Any) -> int:
        """What the centre is answered: that the message is taken, or that it should come again."""
        number, data, has_header, coding = message_of(pdu)
        receipt = receipt_of(pdu)
        try:
            if receipt is not None:
                now = self._operator.clock.now()
                self._transact(lambda c: note_receipt(c, *receipt, now))
            elif has_header or coding == DCS_CARD:
                part = decode_user_data(data, has_header=has_header)
                self._transact(lambda c: self._take(c, number, part))
            else:
                self._take_text(number, text_of(data, coding))
        except CardError as no:
            log.info("a message from {number} is ignored: {why}", number=number, why=str(no))
        except OperationalError as error:
            log.warn("a message from {number} is put off: {why}", number=number, why=str(error.orig))
            return int(consts.SMPP_ESME_RSYSERR)
        return int(consts.SMPP_ESME_ROK)

    def _take(self, connection: Connection, number: str, part: UserData) -> None:
        now, card = self._operator.clock.now(), card_row(connection, msisdn=number)
        if card is None:
            raise CardError("no card has this number")
        content = channel.whole(connection, number, part, now)
        if content is not None:
            self._desk.take(connection, card, content, now, route="sms")

    def _take_text(self, number: str, line: str) -> None:
        """A text of a user: a step of the menu of tones, or nothing for us."""
        now = self._operator.clock.now()
        answer = self._transact(lambda c: self._menu.by_message(c, number, line, now))
        if answer:
            self._texts.append((number, answer))

    def _transact(self, operation: Callable[[Connection], Any]) -> Any:
        return transact(self._operator.engine, operation)
