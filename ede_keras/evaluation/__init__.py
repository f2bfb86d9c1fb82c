"""Metrics, masks, regions, overlays, plots and the report of scored images."""
