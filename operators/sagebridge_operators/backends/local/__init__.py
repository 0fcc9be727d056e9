"""Jobs, models and objects on this machine, behind boto3's own clients."""
