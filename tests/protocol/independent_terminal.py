"""A terminal written from docs/protocol.md alone, with blocking sockets; nothing here comes from the product."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import independent_codec as codec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from independent_codec import Map

SECONDS = 30


class Closed(ConnectionError):
    """The link is over; the text is the last word of the server."""


class Refused(Exception):
    """A refusal, or an error that leaves the link standing."""

    def __init__(self, body: Map) -> None:
        super().__init__(body["reason"])
        self.code: str = body["code"]


@dataclass
class Installed:
    """An item with its counter."""

    installation: str
    product: str
    release: str
    content: bytes
    counter: str
    value: int = 0
    sequence: int = 0
    previous: bytes = bytes(32)
    usage: Map = field(default_factory=dict)


class Terminal:
    """What survives links: key, configuration, agreements, items."""

    def __init__(self, bundle: bytes, name: str, sections: dict[str, dict[str, str]]) -> None:
        self.bundle = json.loads(bundle)
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.sections = {"catalogue_items": {}, **sections}
        self.server_key = base64.b64decode(self.bundle["server_public_key"])
        self.tls = ssl.create_default_context(cadata=self.bundle["ca_pem"])
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.items: dict[str, Installed] = {}

    @property
    def public_key(self) -> str:
        """What the operator enrols."""
        return self.key.public_key().public_bytes_raw().hex()

    def connect(self) -> Link:
        """Log on, answer the interrogation, and take the menu."""
        link = self.dial()
        link.log_on()
        link.wait_for_menu()
        return link

    def dial(self) -> Link:
        """A link on which nothing was said yet."""
        plain = socket.create_connection((self.bundle["host"], self.bundle["port"]), SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Link(self, self.tls.wrap_socket(plain, server_hostname=self.bundle["host"]))

    def sign(self, purpose: str, **document: Any) -> Map:
        """A document of ours."""
        return codec.signed(self.key, purpose, {**document, "at": now()})

    def report(self, item: Installed, samples: list[list[int]]) -> Map:
        """The next counter report of an item."""
        item.sequence += 1
        signed = self.sign(
            "counter-report", installation=item.installation, counter=item.counter, epoch=0, sequence=item.sequence,
            value=item.value, samples=samples, previous=item.previous,
        )  # fmt: skip
        item.previous = hashlib.sha256(signed["document"]).digest()
        return signed


class Link:
    """One link: frames, exchanges, and what the server asks for meanwhile."""

    def __init__(self, terminal: Terminal, stream: ssl.SSLSocket) -> None:
        self.terminal = terminal
        self.stream = stream
        self.last_id = 0
        self.next_exchange = 1
        self.pages: list[Map] = []
        self.menu: dict[str, Map] = {}
        self.seen: list[Map] = []
        """Every message of the server, in order."""
        self.challenge: Map = {}
        self.negotiation: int | None = None

    # Bytes.

    def send(self, type_: str, body: Map, exchange: int = 0, re: int | None = None) -> int:
        """One message; its id."""
        self.last_id += 1
        envelope = {"id": self.last_id, "re": re, "exchange": exchange, "type": type_, "body": body}
        self.stream.sendall(codec.frame(codec.pack(envelope)))
        return self.last_id

    def receive(self) -> Map:
        """The next message of the server."""
        length = int.from_bytes(self._exactly(4))
        if not 1 <= length <= 65536:
            raise codec.Bad(f"a frame of {length} bytes")
        message: Map = codec.unpack(self._exactly(length))
        self.seen.append(message)
        if message["type"] == "bye" or (message["type"] == "error" and message["body"].get("closing")):
            raise Closed(str(message["body"]))
        return message

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.stream.recv(count - len(data))
            if not piece:
                raise Closed("the server hung up")
            data += piece
        return data

    # The dialogue.

    def log_on(self, data: bytes | None = None) -> None:
        """Prove who we are; ``data`` in place of the true binding is for tests of the proof."""
        challenge = self.challenge = self.receive()
        body, terminal = challenge["body"], self.terminal
        if challenge["type"] != "challenge" or body["protocol"] != 1 or body["server"] != terminal.bundle["server"]:
            raise codec.Bad(f"this is not the server: {challenge}")
        binding = "tls-server-end-point"
        if data is None:
            data = hashlib.sha256(self.stream.getpeercert(binary_form=True) or b"").digest()
        document = codec.logon_document(body["nonce"], terminal.name, body["server"], binding, data)
        signature = terminal.key.sign(codec.to_sign("logon", document))
        proof = {"terminal": terminal.name, "binding": binding, "signature": signature, "languages": ["en"]}
        self.send("logon", proof, re=challenge["id"])
        welcome = self.receive()
        if welcome["type"] != "welcome":
            raise codec.Bad(f"no welcome: {welcome}")

    def wait_for_menu(self) -> None:
        """Until an interrogation has ended with its offers."""
        while not self.react(self.receive()):
            pass

    def listen(self) -> None:
        """React to the server until it ends the link, which raises :class:`Closed`."""
        while True:
            self.react(self.receive())

    def react(self, message: Map) -> bool:
        """Answer what the server asks; whether a menu is complete now."""
        body, exchange, id_ = message["body"], message["exchange"], message["id"]
        match message["type"]:
            case "inquiry":
                self.answer_inquiry(exchange, id_)
            case "section_request":
                for name in body["sections"]:
                    self.send_section(name, exchange, id_)
            case "offers":
                return self.add_page(body)
            case "counter_inquiry":
                self.answer_counters(body.get("cut_overs", []), exchange, id_)
            case "counter_noted":
                self.take_usage(body.get("usage", []))
            case "notice":
                self.send("notice_read", {"notices": [body["notice"]]}, exchange, id_)
            case "ping":
                self.send("pong", {}, exchange, id_)
        return False

    def answer_inquiry(self, exchange: int, re: int) -> None:
        """The configuration code and what it is made of."""
        self.canonical = {name: codec.canonical(self.terminal.sections[name]) for name in codec.SECTIONS}
        digests = {name: codec.section_digest(name, data) for name, data in self.canonical.items()}
        code = codec.configuration_code(digests)
        self.send("configuration", {"code": code, "sections": digests}, exchange, re)

    def send_section(self, name: str, exchange: int, re: int) -> None:
        """One section in parts."""
        data, size = self.canonical[name], 48 * 1024
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        for number, piece in enumerate(pieces, 1):
            part = {"section": name, "part": number, "parts": len(pieces), "data": piece}
            self.send("section_part", part, exchange, re)

    def add_page(self, body: Map) -> bool:
        """One page of the menu; whether it was the last."""
        self.pages = [*self.pages, body] if body["page"] > 1 else [body]
        if body["page"] < body["pages"]:
            return False
        self.menu = {offer["offer"]: offer for page in self.pages for offer in page["offers"]}
        return True

    def answer_counters(self, cut_overs: list[int], exchange: int, re: int) -> None:
        """A report for each counter; nothing was used before a cut-over that lies behind us."""
        counted = [item for item in self.terminal.items.values() if item.counter]
        self.send("counter_reports", {"reports": [self.terminal.report(item, []) for item in counted]}, exchange, re)

    # What the user wants.

    def begin(self) -> int:
        """The number of a new exchange."""
        self.next_exchange += 2
        return self.next_exchange - 2

    def ask(self, type_: str, body: Map, exchange: int | None = None) -> Map:
        """Send and wait for the answer, reacting to what else arrives. Raises :class:`Refused`."""
        sent = self.send(type_, body, self.begin() if exchange is None else exchange)
        while True:
            message = self.receive()
            if message.get("re") != sent:
                self.react(message)
                continue
            if message["type"] in ("refusal", "error"):
                raise Refused(message["body"])
            answer: Map = message["body"]
            return answer

    def signal(self, type_: str, offer: str, **more: Any) -> Map:
        """A request, reject or later signal about an offer of the menu."""
        return self.ask(type_, {"offer": offer, "version": self.menu[offer]["version"], **more})

    def negotiate(self, offer: str, mode: str, counter: tuple[str, int | None] | None = None) -> tuple[Map, Map]:
        """Request, perhaps a counter-proposal; the quote, and the signed confirmation, which is not sent yet."""
        exchange = self.negotiation = self.begin()
        entry = self.menu[offer]
        body = self.ask("request", {"offer": offer, "version": entry["version"], "mode": mode}, exchange)
        quote = self.checked_quote(body, entry)
        if counter is not None:
            proposal = {"quote": quote["quote"], "mode": counter[0], "spending_limit": counter[1]}
            body = self.ask("counter_proposal", proposal, exchange)
            quote = self.checked_quote(body, entry)
        confirmation = self.terminal.sign(
            "confirmation", agreement="a-" + os.urandom(12).hex(), quote=quote["quote"],
            quote_digest=hashlib.sha256(body["quote"]["document"]).digest(), mode=quote["mode"]["mode"],
            spending_limit=quote.get("spending_limit"),
        )  # fmt: skip
        return body["quote"], confirmation

    def checked_quote(self, body: Map, entry: Map) -> Map:
        """The quote, if it may be shown to the user."""
        quote = codec.opened(self.terminal.server_key, "quote", body["quote"])
        shown = {mode["mode"]: mode for mode in entry["modes"]}[quote["mode"]["mode"]]
        same = all(quote[key] == entry[key] for key in ("offer", "product", "release"))
        ours = quote["terminal"] == self.terminal.name and quote["server"] == self.terminal.bundle["server"]
        if not (same and ours) or quote["mode"]["amount"] > shown["amount"] or quote["expires"] <= now():
            raise codec.Bad(f"not a quote for what was shown: {quote}")
        return quote

    def confirm(self, quote: Map, confirmation: Map) -> Map:
        """Close the agreement: its id and digest."""
        agreed = self.ask("confirm", {"confirmation": confirmation}, self.negotiation)
        if agreed["digest"] != codec.agreement_digest(quote, confirmation):
            raise codec.Bad("another agreement digest")
        return agreed

    def order(self, agreement: Map, digest: bytes | None = None) -> tuple[Map, X25519PrivateKey]:
        """The delivery grant and the key to which its content key is wrapped."""
        wrap = X25519PrivateKey.generate()
        order = self.terminal.sign(
            "delivery-order", agreement=agreement["agreement"], agreement_digest=digest or agreement["digest"],
            wrap_key=wrap.public_key().public_bytes_raw(),
        )  # fmt: skip
        body = self.ask("delivery_request", {"order": order})
        self.granted = body
        return codec.opened(self.terminal.server_key, "delivery-grant", body["grant"]), wrap

    def fetch(self, grant: Map, wrap: X25519PrivateKey) -> bytes:
        """The package that the grant names, verified and opened."""
        folder, _, name = grant["target"].rpartition("/")
        base = self.terminal.bundle["repository_urls"][0].rstrip("/")
        url = f"{base}/targets/{folder}/{grant['sha256'].hex()}.{name}"
        with urllib.request.urlopen(url, timeout=SECONDS, context=self.terminal.tls) as answer:
            data: bytes = answer.read()
        if len(data) != grant["length"] or hashlib.sha256(data).digest() != grant["sha256"]:
            raise codec.Bad("not the file of the grant")
        if grant["sealed"]:
            return codec.open_package(data, codec.unwrap(grant["content_key"], wrap, grant["agreement"]))
        return data

    def install(self, grant: Map, content: bytes, counter: str = "") -> Map:
        """Keep the item and sign for it; the receipt."""
        item = Installed(grant["installation"], grant["product"], grant["release"], content, counter)
        self.terminal.items[item.product] = item
        self.terminal.sections["catalogue_items"][item.product] = item.release
        self.take_usage(self.granted.get("usage", []))
        return self.terminal.sign(
            "delivery-receipt", agreement=grant["agreement"], installation=item.installation, outcome="installed",
            reason="",
        )  # fmt: skip

    def take_usage(self, grants: list[Map]) -> None:
        """Keep the usage grants that the server signed."""
        for signed in grants:
            grant = codec.opened(self.terminal.server_key, "usage-grant", signed)
            for item in self.terminal.items.values():
                if item.installation == grant["installation"]:
                    item.usage = grant

    def use(self, product: str, units: int) -> None:
        """Use an item within what is granted."""
        item = self.terminal.items[product]
        usage = item.usage
        if not usage or item.value + units > usage["ceiling"] or now() >= usage["valid_until"]:
            raise PermissionError(f"{product}: not granted")
        item.value += units

    def close(self) -> None:
        """Take leave."""
        self.send("bye", {})
        self.stream.close()


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
