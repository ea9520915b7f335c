"""Templates of the console."""
