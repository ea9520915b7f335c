"""What an account has beside its ledger accounts: prepaid credit that expires, buckets of units, shares, thresholds."""
