"""Building pipelines from calls and from JSON, shared by operators, flow functions and readers."""
