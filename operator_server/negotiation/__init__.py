"""Requests, rejections, quotes, counter-proposals and agreements of terminals (claims 2 to 4, 22, 23)."""
