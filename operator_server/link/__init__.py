"""The terminal link: hand-shake, proof, limits; who is on line."""
