"""What is said across a card's interface and to a card over the air.

``tlv``, ``text``: codings. ``usat``: words of the card's toolkit, for its proactive ``commands``, the phone's
``responses`` and ``envelopes``. ``profile``: what a phone can do. ``apdu``: commands to the card. ``sms``: messages,
their headers, concatenation. ``secured``: packets that only card and server can read. ``keys``: each card's keys.
``dialogue``: what the applet and the server tell each other in such packets. ``configuration``: what a card answers
when it is interrogated. ``ussd``: strings of sessions. ``explain``: bytes in words.
"""
