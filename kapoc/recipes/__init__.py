"""Shipped recipes: TOML files, each of which determines a training run. Data only."""
