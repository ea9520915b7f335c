"""Invoices: their content, their sums by EN 16931, and their forms (PDF, JSON, CSV). No database, no clock."""
