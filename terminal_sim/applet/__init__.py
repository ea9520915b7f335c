"""The applet on a card: the user's dialogue, by what the phone can do.

The dialogue is written as it runs (a generator that yields a command and goes on with its answer), so that screens
read in the order in which a person sees them. Between two commands the card is free; what comes from the server
meanwhile is kept for the dialogue that waits for it, or answered without the user.

What an answer of the phone means (ETSI TS 102 223, 6.11): 22, or the reject line, on an offer's own screen rejects it;
10, 12, 20 and what the phone cannot do postpone it; 11 goes back; 13 shows help. Away from an offer's own screen
nothing is ever rejected, so that the red key buries no list.

``machine``: the applet as its card drives it. ``offers``, ``tones``: the dialogues. ``talk``: what they say to the
server and wait for. ``screens``: what they show, whatever the phone. ``memory``: what is kept. ``words``: in which
words.
"""
