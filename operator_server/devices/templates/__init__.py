"""Messages to the users of devices, where the operator has no templates of its own."""
