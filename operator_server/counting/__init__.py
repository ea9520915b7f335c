"""Counter reports: taken, rated, charged, and answered with use granted ahead (claims 10 and 20)."""
