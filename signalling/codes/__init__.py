"""Feature codes: what a user dials to switch a network's feature on or off, and how a roamer's become the local ones.

Source: US 6,029,065. Money, quotes and agreements are those of :mod:`signalling.documents`.
"""
