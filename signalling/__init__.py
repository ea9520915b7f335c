"""What server and terminal say to each other: envelope, messages, framing, configuration code, proofs, money."""
