"""What every command shares: the console, source files, and the wording of values."""
