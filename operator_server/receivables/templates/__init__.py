"""Letters that the operator's own templates stand above."""
