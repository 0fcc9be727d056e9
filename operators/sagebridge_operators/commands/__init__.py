"""Commands that run and deploy pipelines, registered as entry points of sagebridge.commands."""
