"""Tones: their database, how they are browsed, and how they get onto cards."""
