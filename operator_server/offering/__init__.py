"""The live offers: catalogue, tariffs and offer memory of a running server."""
