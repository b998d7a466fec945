"""What a user brings: models and datasets kept under names in the cache folder, and a Python file of models."""
