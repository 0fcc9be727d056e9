"""Read and write Prefect flows."""
