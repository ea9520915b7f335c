"""Mails that invoices travel in, by language; the operator's own take their place."""
