"""Commands that run things; they join the command line by the entry points sagebridge.commands."""
