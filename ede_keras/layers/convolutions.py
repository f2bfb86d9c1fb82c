"""Convolutions that TensorFlow computes slowly on a CPU, in an equivalent but faster form."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="ede_keras")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a kernel as large as the map: one product of matrices."""

    def convolution_op(self, inputs, kernel):
        """The convolution as `(n, 1, 1, filters)`."""
        weights = tf.reshape(kernel, (-1, self.filters))
        return tf.matmul(tf.reshape(inputs, (-1, weights.shape[0])), weights)[:, None, None]


@keras.saving.register_keras_serializable(package="ede_keras")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` without activation, for two cases only.

    Either a single pixel becomes a map as large as the kernel (padding "valid"), or kernel 4,
    stride 2 and padding "same" double the size, with few output channels.
    """

    def call(self, inputs):
        """The transposed convolution."""
        transpose = expand if self.padding == "valid" else double
        outputs = transpose(inputs, tf.convert_to_tensor(self.kernel))
        return outputs + self.bias if self.use_bias else outputs


def expand(y, kernel):
    """Transposed convolution of `(n, 1, 1, f)` with a `(h, w, c, f)` kernel: `(n, h, w, c)`."""
    weights = tf.reshape(kernel, (-1, kernel.shape[-1]))
    outputs = tf.matmul(tf.reshape(y, (-1, weights.shape[1])), weights, transpose_b=True)
    return tf.reshape(outputs, (-1, *kernel.shape[:-1]))


@tf.custom_gradient
def double(y, kernel):
    """Transposed convolution of `(n, h, w, f)` with a `(4, 4, c, f)` kernel at stride 2.

    Returns `(n, 2h, 2w, c)`. It computes four times as many channels at stride 1, each four of
    which make 2 x 2 pixels.

    Reference: Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016.
    """
    _, _, channels, filters = kernel.shape
    # Row 2i + r of the output is made of rows i - 1, i and i + 1, by rows 4 + r, 2 + r and r of
    # the kernel with a margin; columns likewise.
    parts = tf.pad(kernel, [[1, 1], [1, 1], [0, 0], [0, 0]])
    parts = tf.reshape(parts, (3, 2, 3, 2, channels, filters))[::-1, :, ::-1]
    parts = tf.reshape(tf.transpose(parts, (0, 2, 5, 1, 3, 4)), (3, 3, filters, 4 * channels))
    outputs = tf.nn.depth_to_space(tf.nn.conv2d(y, parts, strides=1, padding="SAME"), 2)

    def differentiate(upstream):
        by_kernel = tf.compat.v1.nn.conv2d_backprop_filter(
            upstream, kernel.shape, y, [1, 2, 2, 1], "SAME"
        )
        return tf.nn.conv2d(upstream, kernel, strides=2, padding="SAME"), by_kernel

    return outputs, differentiate
