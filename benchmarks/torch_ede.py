"""The recipes as one writes them in PyTorch: the same networks, losses and updates.

For `benchmarks.speed`, and compared with the Keras model step by step in the tests. Needs the extra
`.[bench]`.
"""

import numpy as np
import torch
import torch._functorch.config
from torch import nn

LEAKY_SLOPE = 0.2
# PyTorch's is the new statistics' share, Keras' the old ones'.
BATCH_NORM_MOMENTUM = 0.1
# Keras' epsilons.
BATCH_NORM_EPSILON = 1e-3
ADAM_EPSILON = 1e-7
LABEL_SMOOTHING = 0.1
MARGIN = 3.0
DARKEST = 0.02


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
    """The paper's recipe: two EDEs and their optimizers.

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
        encoders = [networks["encoder1"], networks["encoder2"], *self.build_more(*sizes)]
        self.parameters = [
            [weight for network in own for weight in network.parameters()]
            for own in ([*encoders, networks["decoder1"]], [*encoders[:2], networks["decoder2"]])
        ]
        self.optimizers = [
            torch.optim.Adam(weights, learning_rate, (beta_1, 0.999), ADAM_EPSILON)
            for weights in self.parameters
        ]
        self.weights = image_weight, latent_weight
        if compiled:
            # Else a compiled network can be gone back through only once.
            torch._functorch.config.donated_buffer = False
            self.compile()

    def build_more(self, *sizes):
        """Modules of EDE1 alone besides its networks."""
        del sizes
        return []

    def compile(self):
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
        self.apply(gradients)
        return [float(loss.detach()) for loss in losses]

    def apply(self, gradients):
        for optimizer, weights, gradient in zip(
            self.optimizers, self.parameters, gradients, strict=True
        ):
            for weight, its in zip(weights, gradient, strict=True):
                weight.grad = its
            optimizer.step()

    @torch.no_grad()
    def score(self, images, omega1=0.5):
        """Equation (8), `(n,)`."""
        encoder1, encoder2, decoder1, decoder2 = (net.eval() for net in self.networks.values())
        z = encoder1(self.prepare(images).contiguous(memory_format=self.format))
        z2 = encoder2(decoder2(z))
        z2p = encoder2(decoder1(z2))
        terms = (z - z2).abs().mean(1), (z - z2p).abs().mean(1)
        return omega1 * terms[0] + (1 - omega1) * terms[1]


def tabulate_views(size):
    """Which pixel of a grey image each pixel of its 16 views is, `(16, size²)`."""
    by = size // 4
    pixels = np.arange(size * size).reshape(size, size)
    padded = np.pad(pixels, by, mode="symmetric")
    corners = ((by, by), (by, 0), (by, 2 * by), (2 * by, by))
    shifted = [padded[top : top + size, left : left + size] for top, left in corners]
    turned = [np.rot90(image, turns) for image in shifted for turns in range(4)]
    return torch.from_numpy(np.stack([view.reshape(-1) for view in turned]))


class TorchDefaultEDE(TorchEDE):
    """The default recipe of grey images.

    It has squared errors, phase 2 for the decoders alone and with a limit for EDE1, the geometric
    pretext, and the memory of images.

    Args:
        pretext_views: Views of an image that the head names in a step.
        pretext_weight: λ.
        memory_size: Codes of normal images per view, and normal images in memory.
        **arguments: As of `TorchEDE`.
    """

    def __init__(
        self,
        latent_dim=64,
        base_width=16,
        learning_rate=1e-3,
        pretext_views=4,
        pretext_weight=6.0,
        memory_size=4096,
        **arguments,
    ):
        self.pretext_views = pretext_views
        self.pretext_weight = pretext_weight
        self.step = 0
        super().__init__(
            latent_dim=latent_dim, base_width=base_width, learning_rate=learning_rate, **arguments
        )
        # The mean of normal images, their principal components, and images along these.
        pixels = self.table.shape[1]
        self.images = [torch.zeros(pixels), torch.zeros(pixels, 64), torch.zeros(memory_size, 64)]
        # Of the two residuals in the anomaly map the mean and the deviation of each pixel.
        self.residuals = [torch.zeros(2, pixels), torch.ones(2, pixels)]
        # Per view the mean and the whitening of normal codes, and some of them, whitened.
        self.densities = [
            [torch.zeros(16, *shape) for shape in ((1, d), (d, d), (memory_size, d))]
            for d in (latent_dim, 4 * base_width)
        ]

    def build_more(self, image_size, channels, latent_dim, base_width):
        self.table = tabulate_views(image_size)
        self.head = nn.Linear(4 * base_width * (image_size // 8) ** 2, len(self.table))
        encoder1 = self.networks["encoder1"]
        self.hidden, self.code = encoder1[:-3], encoder1[-3:]
        return [self.head]

    def compile(self):
        super().compile()
        self.hidden, self.code = torch.compile(self.hidden), torch.compile(self.code)

    def view(self, x, which):
        seen = x.flatten(1).gather(1, self.table[which]).view(x.shape)
        return seen.contiguous(memory_format=self.format)

    def weigh(self, x, x_i, z, z_i):
        alpha, beta = self.weights
        return alpha * (x - x_i).square().mean() + beta * (z.detach() - z_i).square().mean()

    def objectives(self, x):
        """Equation (1) with the pretext's loss, (2) and (3)."""
        _, encoder2, decoder1, decoder2 = self.networks.values()
        n, k = len(x), len(self.table)
        which = (torch.arange(self.pretext_views)[:, None] + torch.arange(n) + self.step) % k
        features = self.hidden(self.view(x, which[0]))
        z = self.code(features)
        more = self.view(x.repeat(self.pretext_views - 1, 1, 1, 1), which[1:].flatten())
        named = self.head(torch.cat([features, self.hidden(more)]).flatten(1))
        pretext = nn.functional.cross_entropy(
            named, which.flatten(), label_smoothing=LABEL_SMOOTHING
        )
        x1, x2 = decoder1(z), decoder2(z)
        rec_1 = self.weigh(x, x1, z, encoder2(x1)) + self.pretext_weight * pretext
        z2 = encoder2(x2)
        rec_2 = self.weigh(x, x2, z, z2)
        x2p = decoder1(z2)
        return rec_1, rec_2, self.weigh(x, x2p, z, encoder2(x2p))

    def train_step(self, images, phase_weight):
        self.step += 1
        x = self.prepare(images).contiguous(memory_format=self.format)
        rec_1, rec_2, adv = self.objectives(x)
        gradients = [
            list(torch.autograd.grad(phase_weight * rec, weights, retain_graph=True))
            for rec, weights in zip((rec_1, rec_2), self.parameters, strict=True)
        ]
        decoders = [list(self.networks[f"decoder{i}"].parameters()) for i in (1, 2)]
        by_decoders = torch.autograd.grad(adv, decoders[0] + decoders[1])
        width = len(decoders[0])
        parts = by_decoders[:width], by_decoders[width:]
        limit = MARGIN * rec_2.detach()
        for sign, gradient, part in zip((-1, 1), gradients, parts, strict=True):
            if sign < 0 and adv > limit:
                continue
            for i, its in enumerate(part, start=len(gradient) - width):
                gradient[i] = gradient[i] + sign * (1 - phase_weight) * its
        self.apply(gradients)
        rest = 1 - phase_weight
        losses = (
            phase_weight * rec_1 - rest * torch.minimum(adv, limit),
            phase_weight * rec_2 + rest * adv,
        )
        return [float(loss.detach()) for loss in losses]

    @torch.no_grad()
    def score(self, images):
        """The terms of the score, `(n, 7)`, before their scaling."""
        x = self.prepare(images).contiguous(memory_format=self.format)
        encoder1, encoder2, decoder1, decoder2 = (net.eval() for net in self.networks.values())
        z = encoder1(x)
        x2 = decoder2(z)
        x2p = decoder1(encoder2(x2))
        terms = [(x - x2p).square().flatten(1).mean(1), (z - encoder2(x2p)).square().mean(1)]
        terms += self.compare_with_images(x, x2)
        n, k = len(x), len(self.table)
        all_views = x.flatten(1)[:, self.table].view(n * k, *x.shape[1:])
        features = self.hidden(all_views.contiguous(memory_format=self.format))
        log_p = self.head(features.flatten(1)).log_softmax(1).view(n, k, k)
        terms.append(-log_p.diagonal(dim1=1, dim2=2).mean(1))
        for codes, density in zip(
            (self.code(features), features.mean((2, 3))), self.densities, strict=True
        ):
            mean, whitening, memory = density
            white = (codes.view(n, k, -1).transpose(0, 1) - mean) @ whitening
            nearest = torch.cdist(white, memory).amin(2)
            terms.append(nearest.mean(0))
        return torch.stack(terms, 1)

    def compare_with_images(self, x, x2):
        """The distance to the nearest normal image, and the highest value of the anomaly map."""
        mean, directions, memory = self.images
        u = x.flatten(1) + 1
        centred = u / (u.mean(1, keepdim=True) + DARKEST).sqrt() - mean
        along = centred @ directions
        residuals = (x - x2).abs().flatten(1), (centred - along @ directions.T).abs()
        center, scale = self.residuals
        deviations = (torch.stack(residuals, 1) - center) / scale
        return [torch.cdist(along, memory).amin(1), deviations.sum(1).amax(1)]
