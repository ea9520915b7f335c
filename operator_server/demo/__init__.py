"""The demo: the whole method on real input, with a fleet, a simulated clock and a second opinion on every invoice."""
