"""The commands `train`, `evaluate` and `export`."""
