"""Code shared by all commands: console output, options, source files and wording."""
