"""Makes what users have added known to the registries of models and datasets."""

from models.own import described, kept_data, kept_text
from models.providers import register_providers

register_providers(described, kept_data, kept_text)
