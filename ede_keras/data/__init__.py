"""Datasets: finding them, reading them, and splitting them into training and test images."""
