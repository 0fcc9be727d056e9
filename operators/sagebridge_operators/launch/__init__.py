"""Start an engine on this machine, run a pipeline on it, or deploy to it."""
