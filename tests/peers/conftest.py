"""What tests with other people's programs share lies beside them."""
