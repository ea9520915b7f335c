"""The configuration of a card and the phone that it sits in, by the same rules as any terminal's.

===================  =================================================================================================
hardware             ``handset_tac``: the first eight digits of the IMEI, which name the model and not the one phone;
                     ``screen_lines``, ``screen_columns`` where the phone tells; ``card_slots``
firmware             ``card``, ``applet`` to their versions
base_software        ``usat.<facility>`` to ``1`` for each facility of the TERMINAL PROFILE, such as
                     ``usat.display-text``
catalogue_items      product to version of what lies in the card's slots
===================  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from signalling.card.profile import Profile
from signalling.configuration import Configuration


def card_configuration(
    imei: str, profile: Profile, firmware: Mapping[str, str], items: Mapping[str, str], slots: int
) -> Configuration:
    """The configuration; ``imei`` may be empty where the phone does not tell it."""
    hardware = {"card_slots": str(slots)}
    if imei:
        hardware["handset_tac"] = imei[:8]
    if profile.screen is not None:
        lines, columns = profile.screen
        hardware |= {"screen_lines": str(lines), "screen_columns": str(columns)}
    facilities = {"usat." + each.name.lower().replace("_", "-"): "1" for each in profile.abilities()}
    return Configuration(hardware, dict(firmware), facilities, dict(items))
