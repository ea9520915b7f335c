"""What the tests of the link begin with."""

from link_fixtures import house, make_house

__all__ = ["house", "make_house"]
