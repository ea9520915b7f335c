"""The operator's server: the terminal link, what is done about it, the store, the web, the command line."""
