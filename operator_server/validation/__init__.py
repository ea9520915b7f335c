"""Validity and authorization of what is installed, and the messages to the user about it (claims 9, 11, 19, 25)."""
