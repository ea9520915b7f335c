"""The offers page: its templates and its style sheet."""
