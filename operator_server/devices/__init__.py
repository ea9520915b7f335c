"""The people behind devices that have no screen: who they are, the links they are sent, and what they answer there."""
