"""Configuration to offers: catalogue, targeting, offer memory, reject filter."""
