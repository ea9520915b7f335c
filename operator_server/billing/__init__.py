"""Bill runs and the invoices they make."""
