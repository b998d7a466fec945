"""What a user brings: models and data sets kept under names in the cache folder, and a Python file of models."""
