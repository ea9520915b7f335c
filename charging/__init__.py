"""Tariffs and rating, charging modes, agreements, counters, ledger, bill run, invoices."""
