"""Makes what users have added known to the registries of models and datasets."""

from models.providers import register_providers
from models.user import described, kept_data, kept_text

register_providers(described, kept_data, kept_text)
