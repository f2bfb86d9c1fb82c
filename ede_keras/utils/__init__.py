"""Atomic file writes, arrays on disk, `tf.data` pipelines, devices, and argument checks."""
