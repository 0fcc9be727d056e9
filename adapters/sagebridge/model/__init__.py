"""The pipeline model. It imports nothing else of ours but the errors."""
