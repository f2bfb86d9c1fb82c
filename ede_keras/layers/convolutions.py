"""Convolutions that TensorFlow computes slowly on a CPU, in other forms of the same sums."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="ede_keras")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose kernel is as large as the map, which becomes a single pixel: a
    product of matrices."""

    def convolution_op(self, inputs, kernel):
        weights = tf.reshape(kernel, (-1, self.filters))
        return tf.matmul(tf.reshape(inputs, (-1, weights.shape[0])), weights)[:, None, None]


@keras.saving.register_keras_serializable(package="ede_keras")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` without activation, either of a single pixel, which becomes
    as large as the kernel, or with kernel 4, stride 2 and padding "same", to few channels."""

    def call(self, inputs):
        transpose = expand if self.padding == "valid" else double
        outputs = transpose(inputs, tf.convert_to_tensor(self.kernel))
        return outputs + self.bias if self.use_bias else outputs


def expand(y, kernel):
    """The transposed convolution of `(n, 1, 1, f)` with a kernel `(h, w, c, f)`, to
    `(n, h, w, c)`."""
    weights = tf.reshape(kernel, (-1, kernel.shape[-1]))
    outputs = tf.matmul(tf.reshape(y, (-1, weights.shape[1])), weights, transpose_b=True)
    return tf.reshape(outputs, (-1, *kernel.shape[:-1]))


@tf.custom_gradient
def double(y, kernel):
    """The transposed convolution of `(n, h, w, f)` with a kernel `(4, 4, c, f)`, stride 2, to
    `(n, 2h, 2w, c)`.

    Four times as many channels at stride 1, of which each four make 2 x 2 pixels: Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network" (CVPR 2016).
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
