"""Delivery: the repository of what is delivered, its keys, and the packages put into it."""
