"""Agreements in time: trials, periods charged when they are due, cancellation, withdrawal, announced prices."""
