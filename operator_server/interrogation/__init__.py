"""Interrogation: asking terminals for their configuration at logon, at calendar times, at intervals and by hand."""
