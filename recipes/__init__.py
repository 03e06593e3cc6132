"""Programs that train, evaluate and export; each reads from top to bottom."""
