"""Flows called with symbols in place of what is known only when they run."""
