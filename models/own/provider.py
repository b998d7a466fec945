"""Makes what users have added known to the registries of models and datasets."""

from models.own import kept_data, kept_models, kept_text
from models.providers import register_providers

register_providers(kept_models, kept_data, kept_text)
