"""Balances: money paid ahead, buckets of units, shares, thresholds, barring, and use taken from all of them."""
