"""Nodes that serve phones: where each phone is, and what goes to it and comes from it through its node."""
