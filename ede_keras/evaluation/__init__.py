"""Metrics, masks, plots and the report of a scored set."""
