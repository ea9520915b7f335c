"""Texts of mails about balances."""
