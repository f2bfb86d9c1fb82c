"""Keras layers and networks that the models are built from."""
