"""What is said across a card's interface and to a card over the air.

``tlv``, ``text``: codings. ``usat``: proactive commands and their answers. ``profile``: what a phone can do. ``apdu``:
commands to the card. ``sms``: messages, their headers, concatenation. ``secured``: packets that only card and server
can read. ``keys``: each card's keys. ``dialogue``: what the applet and the server tell each other in such packets.
"""
