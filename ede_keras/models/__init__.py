"""The detectors, their losses and how they are trained."""
