"""Starts an engine here and runs a pipeline on it."""
