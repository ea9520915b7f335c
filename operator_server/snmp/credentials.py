"""What opens a device: a community (SNMPv2c, RFC 1901) or a user with two passphrases (SNMPv3, RFC 3414, 3826, 7860).

They are kept sealed by the operator's key vault and are in no log, event or error text.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, delete, func, insert, select, update

from operator_server.delivery.vault import KeyVault
from operator_server.store.devices import Device, DeviceCredential
from operator_server.store.rows import table

MIN_PASSPHRASE = 8
"""RFC 3414, 11.2."""

AuthProtocol = Literal["sha224", "sha256", "sha384", "sha512"]
PrivProtocol = Literal["aes128"]


class CredentialError(ValueError):
    """A credential that cannot be used; the text says why, without the secret."""


class Community(msgspec.Struct, frozen=True, tag="v2c"):
    """A community of SNMPv2c. It travels in clear text: whoever hears it can read the device."""

    community: Annotated[str, Meta(min_length=1, max_length=255)]

    @property
    def version(self) -> str:
        """The version as it is stored."""
        return "v2c"

    def __repr__(self) -> str:
        return "Community(...)"


class User(msgspec.Struct, frozen=True, tag="v3"):
    """A user of SNMPv3 at security level authPriv."""

    user: Annotated[str, Meta(min_length=1, max_length=32)]
    auth_key: str
    priv_key: str
    auth: AuthProtocol = "sha256"
    priv: PrivProtocol = "aes128"

    @property
    def version(self) -> str:
        """The version as it is stored."""
        return "v3"

    def __repr__(self) -> str:
        return f"User({self.user!r}, ...)"


Credential = Community | User


def checked(credential: Credential) -> Credential:
    """The credential when it can be used; else :class:`CredentialError`."""
    if isinstance(credential, Community):
        if not 1 <= len(credential.community.encode()) <= 255:
            raise CredentialError("a community has 1 to 255 bytes")
        return credential
    if not 1 <= len(credential.user.encode()) <= 32:
        raise CredentialError("a user name has 1 to 32 bytes")
    for what, passphrase in (("authentication", credential.auth_key), ("privacy", credential.priv_key)):
        if len(passphrase.encode()) < MIN_PASSPHRASE:
            raise CredentialError(f"the {what} passphrase is shorter than {MIN_PASSPHRASE} bytes (RFC 3414)")
    return credential


def sealed_name(name: str) -> str:
    """Under which name the vault seals a credential."""
    return f"snmp credential {name}"


def store_credential(
    connection: Connection, vault: KeyVault, name: str, credential: Credential, now: datetime, *, replace: bool = False
) -> None:
    """Keep a credential sealed under its name. Raises :class:`CredentialError`."""
    row = table(DeviceCredential)
    sealed = vault.seal(msgspec.json.encode(checked(credential)), sealed_name(name))
    known = connection.execute(select(row.c.name).where(row.c.name == name)).first() is not None
    if known and not replace:
        raise CredentialError(f"credential {name}: exists already; --replace puts another in its place")
    values = {"version": credential.version, "sealed": sealed}
    if known:
        connection.execute(update(row).where(row.c.name == name).values(**values))
    else:
        connection.execute(insert(row).values(name=name, created_at=now, **values))


def remove_credential(connection: Connection, name: str) -> None:
    """Forget a credential that no device uses. Raises :class:`CredentialError`."""
    row, device = table(DeviceCredential), table(Device)
    used = connection.execute(select(func.count()).select_from(device).where(device.c.credential == name)).scalar()
    if used:
        raise CredentialError(f"credential {name}: {used} device(s) use it; give them another first")
    if not connection.execute(delete(row).where(row.c.name == name)).rowcount:
        raise CredentialError(f"credential {name}: there is none")


def open_credential(vault: KeyVault, name: str, sealed: bytes) -> Credential:
    """The credential again. Raises :class:`operator_server.delivery.vault.VaultError` and :class:`CredentialError`."""
    opened = vault.open(sealed, sealed_name(name))
    try:
        credential: Credential = msgspec.json.decode(opened, type=Credential)
        return credential
    except msgspec.MsgspecError:
        # The reason might quote the secret.
        raise CredentialError(
            f"credential {name}: is kept in a form that is not known; set it again with --replace"
        ) from None
