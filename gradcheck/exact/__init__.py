"""Evaluate a traced function and its directional derivatives in ball arithmetic: to 80 digits, without any step."""
