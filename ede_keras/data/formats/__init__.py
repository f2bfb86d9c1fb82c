"""Readers of files that hold a whole data set."""
