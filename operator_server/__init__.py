"""The Twisted server: roles, link, interrogation, negotiation, delivery, store, command line."""
