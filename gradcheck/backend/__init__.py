"""What runs the op under check."""
