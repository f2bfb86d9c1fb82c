"""Files, arrays on disk, `tf.data` pipelines, devices, and checks of arguments and images."""
