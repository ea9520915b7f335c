"""What the tests of the desks begin with."""

from operator_fixtures import furnished, house, user

__all__ = ["furnished", "house", "user"]
