"""What reading a flow records: its steps, their code, and run-time values."""
