"""What a phone says that it can do: the TERMINAL PROFILE (ETSI TS 102 223, clause 5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Ability(Enum):
    """A facility with its place in the profile: byte from 1, bit from 1."""

    PROFILE_DOWNLOAD = (1, 1)
    SMS_PP_DOWNLOAD = (1, 2)
    MENU_SELECTION = (1, 4)
    DISPLAY_TEXT = (3, 1)
    GET_INKEY = (3, 2)
    GET_INPUT = (3, 3)
    MORE_TIME = (3, 4)
    PLAY_TONE = (3, 5)
    REFRESH = (3, 8)
    SELECT_ITEM = (4, 1)
    SEND_SHORT_MESSAGE = (4, 2)
    SEND_USSD = (4, 4)
    SET_UP_CALL = (4, 5)
    SET_UP_MENU = (4, 6)
    LOCAL_INFORMATION = (4, 7)
    SET_UP_EVENT_LIST = (5, 1)
    CALL_DISCONNECTED = (5, 4)
    USSD_DOWNLOAD = (23, 8)


_SCREEN_BYTES = 15


@dataclass(frozen=True, slots=True)
class Profile:
    """The bytes of a profile. A bit that is not sent is 0."""

    data: bytes

    def can(self, ability: Ability) -> bool:
        """Whether the phone has the facility."""
        byte, bit = ability.value
        return len(self.data) >= byte and bool(self.data[byte - 1] >> (bit - 1) & 1)

    def abilities(self) -> tuple[Ability, ...]:
        """The facilities that the phone has, of those that are known here."""
        return tuple(each for each in Ability if self.can(each))

    @property
    def screen(self) -> tuple[int, int] | None:
        """Characters down and across, where the phone tells."""
        if len(self.data) < _SCREEN_BYTES:
            return None
        down, across = self.data[13] & 0x1F, self.data[14] & 0x7F
        return (down, across) if down and across else None


def make_profile(abilities: Iterable[Ability], screen: tuple[int, int] | None = None) -> Profile:
    """The profile of a phone with these facilities; ``screen``: characters down (to 31) and across (to 127)."""
    data = bytearray(_SCREEN_BYTES if screen else 4)
    for each in abilities:
        byte, bit = each.value
        data.extend(bytes(max(0, byte - len(data))))
        data[byte - 1] |= 1 << (bit - 1)
    if screen is not None:
        data[13] = 0x80 | min(screen[0], 31)
        data[14] = min(screen[1], 127)
    return Profile(bytes(data))
