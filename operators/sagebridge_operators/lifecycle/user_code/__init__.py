"""Runs user code: Python functions and shell commands."""
