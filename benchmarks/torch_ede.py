"""The paper's recipe as one writes it in PyTorch: the same networks, losses and updates.

For `benchmarks.speed`, and compared with the Keras model step by step in the tests. Needs the extra
`.[bench]`.
"""

import torch
import torch._functorch.config
from torch import nn

LEAKY_SLOPE = 0.2
# PyTorch's is the new statistics' share, Keras' the old ones'.
BATCH_NORM_MOMENTUM = 0.1
# Keras' epsilons.
BATCH_NORM_EPSILON = 1e-3
ADAM_EPSILON = 1e-7


def _block(convolution, width=None):
    norm = [nn.BatchNorm2d(width, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM)] if width else []
    return [convolution, *norm, nn.LeakyReLU(LEAKY_SLOPE)]


def build_encoder(image_size, channels, latent_dim, base_width):
    """`(n, channels, image_size, image_size)` to `(n, latent_dim)`."""
    strided = {"kernel_size": 4, "stride": 2, "padding": 1}
    w = base_width
    return nn.Sequential(
        *_block(nn.Conv2d(channels, w, **strided)),
        *_block(nn.Conv2d(w, 2 * w, bias=False, **strided), 2 * w),
        *_block(nn.Conv2d(2 * w, 4 * w, bias=False, **strided), 4 * w),
        nn.Conv2d(4 * w, latent_dim, image_size // 8),
        nn.Flatten(),
        nn.Tanh(),
    )


def build_decoder(image_size, channels, latent_dim, base_width):
    """`(n, latent_dim)` to `(n, channels, image_size, image_size)`."""
    strided = {"kernel_size": 4, "stride": 2, "padding": 1}
    w = base_width
    return nn.Sequential(
        nn.Unflatten(1, (latent_dim, 1, 1)),
        *_block(nn.ConvTranspose2d(latent_dim, 4 * w, image_size // 8, bias=False), 4 * w),
        *_block(nn.ConvTranspose2d(4 * w, 2 * w, bias=False, **strided), 2 * w),
        *_block(nn.ConvTranspose2d(2 * w, w, bias=False, **strided), w),
        nn.ConvTranspose2d(w, channels, **strided),
        nn.Tanh(),
    )


class TorchEDE:
    """Two EDEs and their optimizers.

    Args:
        image_size, channels, latent_dim, base_width: As in the Keras networks.
        image_weight, latent_weight: α, β.
        learning_rate, beta_1: Adam's.
        compiled: Whether `torch.compile` compiles the networks.
        channels_last: Whether images lie in memory as Keras' do.
    """

    def __init__(
        self,
        image_size=32,
        channels=1,
        latent_dim=100,
        base_width=32,
        image_weight=50.0,
        latent_weight=1.0,
        learning_rate=2e-4,
        beta_1=0.5,
        compiled=False,
        channels_last=False,
    ):
        sizes = image_size, channels, latent_dim, base_width
        networks = {
            "encoder1": build_encoder(*sizes),
            "encoder2": build_encoder(*sizes),
            "decoder1": build_decoder(*sizes),
            "decoder2": build_decoder(*sizes),
        }
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.networks = {name: net.to(memory_format=self.format) for name, net in networks.items()}
        self.parameters = [
            [
                weight
                for name in ("encoder1", "encoder2", decoder)
                for weight in networks[name].parameters()
            ]
            for decoder in ("decoder1", "decoder2")
        ]
        self.optimizers = [
            torch.optim.Adam(weights, learning_rate, (beta_1, 0.999), ADAM_EPSILON)
            for weights in self.parameters
        ]
        self.weights = image_weight, latent_weight
        if compiled:
            # Else a compiled network can be gone back through only once.
            torch._functorch.config.donated_buffer = False
            self.networks = {name: torch.compile(net) for name, net in self.networks.items()}

    def losses(self, x, phase_weight):
        """Equations (6) and (7), of images `(n, channels, size, size)` in [-1, 1]."""
        encoder1, encoder2, decoder1, decoder2 = self.networks.values()
        z = encoder1(x)

        def regenerate(z, decoder):
            x_i = decoder(z)
            return x_i, encoder2(x_i)

        def weigh(x_i, z_i):
            alpha, beta = self.weights
            return alpha * (x - x_i).abs().mean() + beta * (z - z_i).abs().mean()

        rec_1 = weigh(*regenerate(z, decoder1))
        x2, z2 = regenerate(z, decoder2)
        rec_2 = weigh(x2, z2)
        adv = weigh(*regenerate(z2, decoder1))
        return (
            phase_weight * rec_1 - (1 - phase_weight) * adv,
            phase_weight * rec_2 + (1 - phase_weight) * adv,
        )

    def prepare(self, images):
        """Raw pixels, uint8 `(n, size, size, channels)`, in [-1, 1]."""
        return images.permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1)

    def train_step(self, images, phase_weight):
        """Algorithm 1 as printed: one forward, both gradients, both updates."""
        x = self.prepare(images).contiguous(memory_format=self.format)
        losses = self.losses(x, phase_weight)
        gradients = [
            torch.autograd.grad(loss, weights, retain_graph=i == 0)
            for i, (loss, weights) in enumerate(zip(losses, self.parameters, strict=True))
        ]
        for optimizer, weights, gradient in zip(
            self.optimizers, self.parameters, gradients, strict=True
        ):
            for weight, its in zip(weights, gradient, strict=True):
                weight.grad = its
            optimizer.step()
        return [float(loss.detach()) for loss in losses]

    @torch.no_grad()
    def score(self, images, omega1=0.5):
        """Equation (8), `(n,)`."""
        encoder1, encoder2, decoder1, decoder2 = (net.eval() for net in self.networks.values())
        z = encoder1(self.prepare(images).contiguous(memory_format=self.format))
        z2 = encoder2(decoder2(z))
        z2p = encoder2(decoder1(z2))
        terms = (z - z2).abs().mean(1), (z - z2p).abs().mean(1)
        return omega1 * terms[0] + (1 - omega1) * terms[1]
