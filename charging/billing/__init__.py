"""Billing rules without storage: cycles, proration, commitments, taxes."""
