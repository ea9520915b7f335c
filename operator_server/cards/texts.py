"""What cards show, in the languages that there are words for; offers bring their own."""

from __future__ import annotations

TITLE_CHARACTERS = 40
"""Of an offer in a list."""

TEXT_CHARACTERS = 600
"""Of what is shown at once."""

_ENGLISH = {
    "agreed": "Agreed: {title}. Number {agreement}.",
    "rejected": "{title} is not shown to you again.",
    "rejected_until": "{title} is not shown to you before {until}.",
    "noted": "Noted.",
    "changed": "The offers have changed. Open the menu again.",
    "not_offered": "This offer is not open to you now.",
    "no_credit": "Your account does not cover this.",
    "already": "You have this already.",
    "expired": "That took too long. Choose the offer again.",
    "impossible": "This is not possible now: {reason}",
    "not_served": "This card is not in use. Ask your operator.",
    "price": "{label}: {price}",
    "total": "Now {total}, with tax {tax}.",
    "limit": "At most {limit}.",
    "accepted": "Accepted.",
    "countered": "Not quite what you proposed:",
    "not_kept": "The tone was not kept. You do not pay for it.",
    "form": "Your next tones come so.",
    "no_calls": "This network plays no tones in calls.",
}
_GERMAN = {
    "agreed": "Vereinbart: {title}. Nummer {agreement}.",
    "rejected": "{title} wird Ihnen nicht mehr gezeigt.",
    "rejected_until": "{title} wird Ihnen bis {until} nicht gezeigt.",
    "noted": "Notiert.",
    "changed": "Die Angebote haben sich geändert. Öffnen Sie das Menü erneut.",
    "not_offered": "Dieses Angebot steht Ihnen jetzt nicht offen.",
    "no_credit": "Ihr Konto reicht dafür nicht.",
    "already": "Das haben Sie schon.",
    "expired": "Das dauerte zu lange. Wählen Sie das Angebot erneut.",
    "impossible": "Das geht jetzt nicht: {reason}",
    "not_served": "Diese Karte ist nicht in Gebrauch. Fragen Sie Ihren Betreiber.",
    "price": "{label}: {price}",
    "total": "Jetzt {total}, mit Steuer {tax}.",
    "limit": "Höchstens {limit}.",
    "accepted": "Angenommen.",
    "countered": "Nicht ganz, was Sie vorschlugen:",
    "not_kept": "Der Ton wurde nicht behalten. Sie zahlen nichts dafür.",
    "form": "Ihre nächsten Töne kommen so.",
    "no_calls": "Dieses Netz spielt keine Töne in Anrufen.",
}
_TEXTS = {"en": _ENGLISH, "de": _GERMAN}

_REASONS = {
    "offer_changed": "changed", "unknown_offer": "changed", "not_offered": "not_offered", "no_credit": "no_credit",
    "already_agreed": "already", "already_present": "already", "quote_expired": "expired", "quote_closed": "expired",
    "unknown_quote": "expired",
}  # fmt: skip


def text(key: str, language: str, **values: str) -> str:
    """A text in the language, English where there is none in it."""
    return _TEXTS.get(language, _ENGLISH)[key].format(**values)


def reason_text(code: str, reason: str, language: str) -> str:
    """A refusal in words for the user."""
    return text(_REASONS.get(code, "impossible"), language, reason=reason)
