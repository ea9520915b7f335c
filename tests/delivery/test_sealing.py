"""A sealed package opens whole, with its own key, or not at all."""

from __future__ import annotations

import io

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from signalling.sealing import (
    SealError,
    WrongKey,
    grant_info,
    key_id,
    new_content_key,
    open_seal,
    seal,
    sealed_key_id,
    sealed_length,
    unwrap_key,
    wrap_key,
)

KEY = bytes(range(32))
CHUNK = 16
HEADER = 50
STEP = CHUNK + 16


def sealed(plain: bytes, chunk: int = CHUNK) -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(plain), sink, KEY, chunk)
    return sink.getvalue()


def opened(package: bytes, key: bytes = KEY) -> bytes:
    sink = io.BytesIO()
    assert open_seal(io.BytesIO(package), sink, key) == len(sink.getvalue())
    return sink.getvalue()


class Dripping(io.RawIOBase):
    """A source that gives three bytes a read, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._source.read(min(size, 3))


@given(st.binary(max_size=100), st.integers(1, 40))
def test_what_was_sealed_comes_out_again_and_has_the_announced_length(plain: bytes, chunk: int) -> None:
    package = sealed(plain, chunk)
    assert opened(package) == plain
    assert len(package) == sealed_length(len(plain), chunk)


def test_a_source_that_gives_little_at_a_time_is_sealed_and_opened_alike() -> None:
    sink = io.BytesIO()
    seal(Dripping(b"p" * 50), sink, KEY, CHUNK)
    plain = io.BytesIO()
    open_seal(Dripping(sink.getvalue()), plain, KEY)
    assert plain.getvalue() == b"p" * 50


@given(st.integers(0, 60), st.data())
def test_a_flipped_bit_anywhere_is_refused(size: int, data: st.DataObject) -> None:
    package = bytearray(sealed(b"x" * size))
    at = data.draw(st.integers(0, len(package) - 1))
    package[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealError):
        opened(bytes(package))


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK, 3 * CHUNK + 5])
def test_a_package_cut_off_anywhere_is_refused(size: int) -> None:
    package = sealed(b"x" * size)
    for length in range(len(package)):
        with pytest.raises(SealError):
            opened(package[:length])


def test_chunks_moved_repeated_dropped_or_added_are_refused() -> None:
    package = sealed(b"x" * (4 * CHUNK))
    header, chunks = package[:HEADER], [package[at : at + STEP] for at in range(HEADER, len(package), STEP)]
    a, b, c, d = chunks
    others = sealed(b"x" * (4 * CHUNK))[HEADER:]
    for changed in ([b, a, c, d], [a, a, b, c, d], [a, c, d], [a, b, d], [a, b, c, d, d], [a, b, c, d, b"\0"]):
        with pytest.raises(SealError):
            opened(header + b"".join(changed))
    with pytest.raises(SealError):
        opened(header + others)


def test_another_key_is_told_from_damage() -> None:
    with pytest.raises(WrongKey, match="content key"):
        opened(sealed(b"plain"), new_content_key())


def test_the_key_id_is_in_the_open_and_the_plaintext_is_not() -> None:
    package = sealed(b"the plaintext of the package" * 4)
    assert sealed_key_id(io.BytesIO(package)) == key_id(KEY)
    assert b"plaintext" not in package
    assert KEY not in package


def test_a_header_that_asks_for_huge_chunks_is_refused_before_anything_is_read() -> None:
    package = bytearray(sealed(b"plain"))
    package[7:11] = b"\xff\xff\xff\xff"
    with pytest.raises(SealError, match="chunks of 4294967295 bytes"):
        opened(bytes(package))


def test_a_wrapped_key_opens_for_its_terminal_and_its_agreement_only() -> None:
    terminal, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    wrapped = wrap_key(KEY, terminal.public_key().public_bytes_raw(), grant_info("agreement-1"))
    assert unwrap_key(wrapped, terminal, grant_info("agreement-1")) == KEY
    with pytest.raises(SealError):
        unwrap_key(wrapped, other, grant_info("agreement-1"))
    with pytest.raises(SealError):
        unwrap_key(wrapped, terminal, grant_info("agreement-2"))
    with pytest.raises(SealError):
        unwrap_key(wrapped[:-1], terminal, grant_info("agreement-1"))


@pytest.mark.parametrize("public_key", [b"", b"short", bytes(32), b"\1" + bytes(31)])
def test_nothing_is_wrapped_for_a_public_key_that_gives_no_secret(public_key: bytes) -> None:
    with pytest.raises(SealError, match="public key"):
        wrap_key(KEY, public_key, b"info")


def test_a_key_of_the_wrong_length_is_no_content_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal(io.BytesIO(b""), io.BytesIO(), b"short")
