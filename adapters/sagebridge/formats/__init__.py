"""One folder a format, the same file names in each: ``reader`` and ``writer``."""
