"""The processes of an operator: ``link``, ``web``, ``worker``, alone, under one supervisor, or in one process."""
