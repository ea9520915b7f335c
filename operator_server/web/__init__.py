"""The web role: the repository over HTTP(S), and what is served beside it."""
