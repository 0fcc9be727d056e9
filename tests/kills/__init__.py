"""Tests that kill workers at each boundary of a step and start others."""
