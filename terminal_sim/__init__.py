"""The terminal: its parts as the core names them, a person at its menu, and whole fleets."""
