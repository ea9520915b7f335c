"""SIM cards as terminals: the same offers, quotes and agreements, in packets that only the card and the server read."""
