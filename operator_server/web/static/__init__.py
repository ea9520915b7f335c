"""Style and script of the console."""
