"""A person with a browser, as a program: opens a link, reads forms, fills them in and sends them.

For the demo and for tests. It knows of the offers page what a browser knows: HTTP, forms and cookies.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]
Send = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Sends method, path, headers and body; gives status, headers and body."""

_REDIRECTS = 5


class PageError(RuntimeError):
    """The page is not as it was expected; the text says what is missing."""


@dataclass
class Form:
    """A form with what its fields hold; ``buttons`` maps a button's value to its name, ``radios`` a name to values."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)
    radios: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A page as it was answered."""

    status: int
    path: str
    html: str
    headers: dict[str, str]
    forms: list[Form]

    @property
    def text(self) -> str:
        """The page's words, without its style sheet."""
        plain = re.sub(r"<(style|title)>.*?</\1>|<[^>]*>", " ", self.html, flags=re.DOTALL)
        return " ".join(plain.split())

    def form(self, action: str, **fields: str) -> Form:
        """The first form with a button of this value whose fields hold this. Raises :class:`PageError`."""
        for form in self.forms:
            if (action in form.buttons or not action) and fields.items() <= form.fields.items():
                return form
        raise PageError(f"{self.path} ({self.status}): no form with button {action!r} and {fields}: {self.text[:300]}")


class PageUser:
    """Goes from page to page; keeps cookies."""

    def __init__(self, send: Send, language: str = "") -> None:
        self._send = send
        self._language = language
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Seen:
        """Look at a page."""
        return self._ask("GET", path, {})

    def open(self, link: str) -> Seen:
        """Open a one-time link, as far as the menu. Raises :class:`PageError`."""
        page = self.get(urlsplit(link).path)
        return self.send(page, "", self._opening(page))

    @staticmethod
    def _opening(page: Seen) -> Form:
        if page.status != 200:
            raise PageError(f"the link does not open ({page.status}): {page.text[:300]}")
        return page.form("")

    def send(self, page: Seen, button: str, form: Form, **fields: str) -> Seen:
        """Press a button of a form, its fields as they are but for these."""
        values = form.fields | fields
        if button:
            values = values | {form.buttons[button]: button}
        return self._ask("POST", urljoin(page.path, form.action), values)

    def take(self, menu: Seen, offer: str, mode: str = "", limit: str = "") -> Seen:
        """Choose an offer of the menu and confirm its quote; the page that says it is done."""
        form = menu.form("request", offer=offer)
        wanted = ({"mode": mode} if mode else {}) | ({"limit": limit} if limit else {})
        quote = self.send(menu, "request", form, **wanted)
        return self.send(quote, "confirm", quote.form("confirm"))

    def _ask(self, method: str, path: str, values: Mapping[str, str]) -> Seen:
        for _ in range(_REDIRECTS):
            headers = {"Accept": "text/html", "Accept-Language": self._language or "en"}
            if self.cookies:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            body = b""
            if method == "POST":
                body = urlencode(values).encode()
                headers |= {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
            status, answered, content = self._send(method, path, headers, body)
            self._keep_cookies(answered)
            named = {name.lower(): value for name, value in answered}
            if status != 303:
                html = content.decode("utf-8", "replace")
                return Seen(status, path, html, named, _forms(html))
            method, path = "GET", urljoin(path, named["location"])
        raise PageError(f"{path}: too many redirects")

    def _keep_cookies(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name.lower() == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(key, None)
                    else:
                        self.cookies[key] = morsel.value


def over_http(base_url: str, context: ssl.SSLContext | None = None) -> Send:
    """Sends to a server; ``context`` for HTTPS: which certificates to trust."""
    parts = urlsplit(base_url)

    def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=30, context=context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=30)
        )
        try:
            connection.request(method, path, body=body or None, headers={**headers, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    return send


def link_in(message: str) -> str:
    """The link in a message. Raises :class:`PageError`."""
    found = re.search(r"https?://\S+/o/[A-Za-z0-9_-]{43}", message)
    if found is None:
        raise PageError("the message holds no link")
    return found[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(facts.get("action", ""))
            self.forms.append(self._form)
        elif self._form is None or not (name := facts.get("name", "")):
            return
        elif tag == "button":
            self._form.buttons[facts.get("value", "")] = name
        elif tag == "input" and facts.get("type") == "radio":
            self._form.radios.setdefault(name, []).append(facts["value"])
            if "checked" in facts:
                self._form.fields[name] = facts["value"]
        elif tag == "input":
            self._form.fields[name] = facts.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None


def _forms(html: str) -> list[Form]:
    reader = _Reader()
    reader.feed(html)
    return reader.forms
