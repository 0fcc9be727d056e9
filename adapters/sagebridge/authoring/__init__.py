"""Pipelines built by calls, and definition JSON: what operators, flows and readers share."""
