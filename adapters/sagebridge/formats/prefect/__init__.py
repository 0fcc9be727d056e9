"""Prefect flows: read from their source, or traced; written as a person would write them."""
