"""A pipeline being built by calls: what operators, flow functions and readers share."""
