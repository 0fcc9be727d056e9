"""Trace flows by calling them with symbols in place of run-time values."""
