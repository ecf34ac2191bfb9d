"""Find the custom gradients of a source tree without importing it, and what covers each."""
