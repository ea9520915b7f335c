"""What proves the yes of a user who has no key: the record of what was posted on the page that his link opened."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from signalling.messages import Digest, Id, Instant


class WebProof(msgspec.Struct, frozen=True):
    """The proof of an agreement whose evidence is of kind ``web_token``, kept as MessagePack in ``Agreement.proof``.

    ``token``, ``token_digest``: of the one-time link that opened the page ``session``. ``at``: when the form came.
    ``posted``: its body as it came, which holds the confirmation document in base64url in its field ``document``.
    Neither the token nor the session's secret can be found from it.
    """

    token: Id
    token_digest: Digest
    session: Id
    at: Instant
    posted: Annotated[bytes, Meta(max_length=64 * 1024)]
    kind: str = "web_token"

    def encode(self) -> bytes:
        """The bytes to keep."""
        return msgspec.msgpack.encode(self)


def decode_proof(proof: bytes) -> WebProof:
    """The record again. Raises ``msgspec.MsgspecError``."""
    return msgspec.msgpack.decode(proof, type=WebProof)
