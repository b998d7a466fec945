"""One file per family; each decorated factory is a model."""
