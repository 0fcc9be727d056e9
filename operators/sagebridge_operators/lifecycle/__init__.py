"""What every step walks through: resolve, name, create, poll, outputs, records."""
