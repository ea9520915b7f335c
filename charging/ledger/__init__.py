"""The double-entry ledger: append-only transfers, exact balances, reservations, sealed commit groups."""
