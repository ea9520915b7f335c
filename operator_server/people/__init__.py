"""People who work with the operator's data, and the scripts they send: roles, passwords, sessions, tokens."""
