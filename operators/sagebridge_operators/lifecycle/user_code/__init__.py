"""Runs the code of users' own Python and shell steps."""
