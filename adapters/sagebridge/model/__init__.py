"""The pipeline model. Of sagebridge it imports only the errors."""
