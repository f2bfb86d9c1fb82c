import keras
import numpy as np
import pytest

from ede_keras.layers import networks


def strided(model):
    kinds = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


@pytest.mark.parametrize("image_size", [16, 24, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(image_size, channels):
    encoder = networks.build_encoder(image_size, channels, latent_dim=5, base_width=2)
    decoder = networks.build_decoder(image_size, channels, latent_dim=5, base_width=2)
    x = 50 * np.random.default_rng(0).normal(size=(3, image_size, image_size, channels))
    z = encoder(x)
    assert z.shape == (3, 5)
    assert decoder(z).shape == x.shape
    for output in (z, decoder(50 * z)):
        assert np.abs(output).max() <= 1


def test_encoder_is_figure_3():
    encoder = networks.build_encoder(32, 1, latent_dim=100, base_width=32)
    assert [layer.output.shape[1:3] for layer in strided(encoder)] == [
        (16, 16),
        (8, 8),
        (4, 4),
        (1, 1),
    ]
    kinds = [type(layer).__name__ for layer in encoder.layers]
    assert kinds.count("BatchNormalization") == 2
    assert kinds.count("LeakyReLU") == 3
    # 4x4 kernels: 1→32 with bias; 32→64, 64→128 without; 128→100 with; 2 γ and 2 moving each.
    convolutions = 16 * 32 + 32 + 16 * 32 * 64 + 16 * 64 * 128 + 16 * 128 * 100 + 100
    assert encoder.count_params() == convolutions + 4 * 64 + 4 * 128


def test_decoder_is_figure_3():
    decoder = networks.build_decoder(32, 3, latent_dim=100, base_width=32)
    assert [layer.output.shape[1:3] for layer in strided(decoder)] == [
        (4, 4),
        (8, 8),
        (16, 16),
        (32, 32),
    ]
    kinds = [type(layer).__name__ for layer in decoder.layers]
    assert kinds.count("BatchNormalization") == kinds.count("LeakyReLU") == 3
    convolutions = 16 * 100 * 128 + 16 * 128 * 64 + 16 * 64 * 32 + 16 * 32 * 3 + 3
    assert decoder.count_params() == convolutions + 4 * (128 + 64 + 32)


@pytest.mark.parametrize("image_size", [8, 20, 33])
def test_image_size_must_fit_the_strides(image_size):
    with pytest.raises(ValueError, match=f"multiple of 8 and at least 16.*{image_size}"):
        networks.build_encoder(image_size, 1, latent_dim=4)


def test_channels_must_be_grey_or_rgb():
    with pytest.raises(ValueError, match=r"1 \(grey\) or 3 \(RGB\).*channels=2"):
        networks.build_decoder(16, 2, latent_dim=4)


def test_preprocessor_scales_to_the_networks_range():
    x = np.array([0, 127.5, 255]).reshape(3, 1, 1, 1) * np.ones((1, 16, 16, 1))
    out = networks.build_preprocessor((16, 16, 1), 16)(x)
    np.testing.assert_allclose(out[:, 3, 5, 0], [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (28, 28, 3), (40, 20, 1), (128, 128, 3)])
def test_preprocessor_resizes(image_shape):
    x = np.full((2, *image_shape), 255, np.uint8)
    out = np.asarray(networks.build_preprocessor(image_shape, 32)(x))
    assert out.shape == (2, 32, 32, image_shape[-1]) and out.dtype == np.float32
    np.testing.assert_allclose(out, 1, atol=1e-6)


def test_no_pixel_of_a_large_image_is_lost():
    x = np.random.default_rng(0).uniform(0, 255, (1, 128, 128, 1)).astype("float32")
    out = networks.build_preprocessor((128, 128, 1), 32)(x)
    expected = x.reshape(1, 32, 4, 32, 4, 1).mean(axis=(2, 4)) / 127.5 - 1
    np.testing.assert_allclose(out, expected, atol=1e-5)
