"""Metrics, masks, plots and the report of scored images."""
