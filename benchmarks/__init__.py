"""Measurements that anyone can repeat; `results/` holds what they gave."""

import os

# As train.py sets them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
