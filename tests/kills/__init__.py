"""Workers that are killed at each boundary of a step, and those that come after them."""
