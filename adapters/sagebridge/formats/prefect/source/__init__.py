"""The code of a flow: its file, what its names mean, and which calls only have a result."""
