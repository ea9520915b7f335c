"""Passwords by Argon2id (RFC 9106). A hash takes some 50 ms and 64 MiB: never on an event loop, few at a time."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 256

_hasher = PasswordHasher()
_at_a_time = threading.BoundedSemaphore(2)
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class UnfitPassword(ValueError):
    """A password that is not taken; the text says why."""


def check_new(password: str, name: str) -> None:
    """Raises :class:`UnfitPassword` where a password is too short, too long or too easy to guess."""
    if len(password) < SHORTEST:
        raise UnfitPassword(f"a password needs at least {SHORTEST} characters; a few words do well")
    if len(password) > LONGEST:
        raise UnfitPassword(f"a password has at most {LONGEST} characters")
    if len(set(password)) < 5:
        raise UnfitPassword("a password needs at least five different characters")
    if name.lower() in password.lower():
        raise UnfitPassword("a password must not hold the user's name")


def hash_password(password: str) -> str:
    """The hash to keep."""
    with _at_a_time:
        return _hasher.hash(password)


def fits(password: str, kept: str) -> bool:
    """Whether the password is the one of the hash. It takes as long for one that is not."""
    with _at_a_time:
        try:
            return _hasher.verify(kept or _nobodys(), password) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


@dataclass(frozen=True, slots=True)
class OneTimePassword:
    """A password for one logon, and its hash. Make it before the transaction that keeps it: hashing takes its time."""

    text: str
    kept: str


def one_time_password() -> OneTimePassword:
    """20 letters and digits, 100 bits, easy to read aloud."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(20))
    text = "-".join(letters[start : start + 5] for start in range(0, 20, 5))
    return OneTimePassword(text, hash_password(text))


_kept: list[str] = []


def _nobodys() -> str:
    """A hash that no password fits, so that an unknown name takes as long as a known one."""
    if not _kept:
        _kept.append(_hasher.hash(secrets.token_urlsafe(32)))
    return _kept[0]
