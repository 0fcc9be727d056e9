"""Runs steps: resolves arguments, names, creates and watches jobs, records attempts."""
