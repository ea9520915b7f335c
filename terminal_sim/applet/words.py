"""The applet's own words, by language; texts of offers bring their own."""

from __future__ import annotations

WORDS = {
    "menu": "Services", "offers": "Offers", "again": "Ask for offers", "wait": "Please wait", "none": "No offers now",
    "more": "More", "before": "Back", "later": "Later", "reject": "Not interested", "rejected": "Not shown again",
    "ok": "OK", "confirm": "Agree?", "yes": "Yes", "no": "No", "limit": "Set a limit", "how_much": "Limit in {0}:",
    "not_sent": "Message not sent. Try again later.", "bad_limit": "Write an amount such as 5.00",
    "help": "Choose an offer to see its price. Not interested hides it, Later keeps it.",
    "tones": "Tones", "letter": "By letter", "kind": "By kind", "new": "New", "mine": "My tones", "listen": "Listen",
    "full": "No slot is free. Replace:", "keep_all": "Keep all", "kept": "Kept: {0}", "damaged": "The tone is damaged.",
    "ring": "Ring with it for", "all": "All calls", "caller": "A caller", "group": "A group", "own": "My number",
    "number": "Number:", "numbers": "Numbers, # between:", "remove": "Remove", "bound": "{0} rings.",
    "form": "Receive as", "form_smart": "Message", "form_rtttl": "Text (RTTTL)", "form_audio": "Played in a call",
    "call": "Call to record {0}?", "broken": "The tone was not recorded.", "again_call": "Call again",
    "give_up": "Do without", "mute": "This phone cannot send messages of the card.",
}  # fmt: skip
GERMAN = {
    "menu": "Dienste", "offers": "Angebote", "again": "Angebote holen", "wait": "Bitte warten",
    "none": "Keine Angebote", "more": "Weiter", "before": "Zurück", "later": "Später", "reject": "Kein Interesse",
    "rejected": "Wird nicht mehr gezeigt", "ok": "OK", "confirm": "Einverstanden?", "yes": "Ja", "no": "Nein",
    "limit": "Grenze setzen", "how_much": "Grenze in {0}:",
    "not_sent": "Nachricht nicht gesendet. Bitte später noch einmal.", "bad_limit": "Bitte einen Betrag wie 5,00",
    "help": "Ein Angebot wählen zeigt den Preis. Kein Interesse verbirgt es, Später behält es.",
    "tones": "Töne", "letter": "Nach Buchstaben", "kind": "Nach Art", "new": "Neue", "mine": "Meine Töne",
    "listen": "Anhören", "full": "Kein Platz frei. Ersetzen:", "keep_all": "Alle behalten", "kept": "Behalten: {0}",
    "damaged": "Der Ton ist beschädigt.", "ring": "Klingelt für", "all": "Alle Anrufe", "caller": "Einen Anrufer",
    "group": "Eine Gruppe", "own": "Meine Nummer", "number": "Nummer:", "numbers": "Nummern, # dazwischen:",
    "remove": "Entfernen", "bound": "{0} klingelt.",
    "form": "Empfangen als", "form_smart": "Nachricht", "form_rtttl": "Text (RTTTL)", "form_audio": "Anruf",
    "call": "Anrufen, um {0} aufzunehmen?", "broken": "Der Ton wurde nicht aufgenommen.",
    "again_call": "Noch einmal", "give_up": "Verzichten",
    "mute": "Dieses Telefon kann keine Nachrichten der Karte senden.",
}  # fmt: skip
LANGUAGES = {"en": WORDS, "de": GERMAN}
"""By language; a card of another language shows English."""
