"""The processes of an operator, a file each: alone, under one supervisor, or several in one process."""
