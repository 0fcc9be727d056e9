"""One folder per format with a reader and a writer, and ``python``, which DAGs and flows share."""
