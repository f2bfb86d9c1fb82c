"""Algorithm 1 against arithmetic done by hand, and its faster form against the printed one."""

import keras
import numpy as np
import pytest

from ede_keras.models.algorithm1 import compute_loss, printed_gradients, shared_gradients
from ede_keras.models.variants import VARIANTS, TwinEDE

PAPER = {"e1": 0.7, "e2": 0.9, "d1": 0.6, "d2": 1.2}
ALPHA, BETA, RATE, FLOOR = 5.0, 2.0, 0.01, 0.25


class Scale(keras.Model):
    """A network of one weight, by which it multiplies; its latents are the image in a row."""

    def __init__(self, factor, shape):
        super().__init__()
        self.factor = self.add_weight(initializer=keras.initializers.Constant(factor))
        self.shape = shape
        self.built = True

    def call(self, inputs, training=None):
        return keras.ops.reshape(inputs * self.factor, (-1, *self.shape))


def by_hand(p, w, size):
    """(rec_1, rec_2, adv) of networks that multiply, for images of mean |x| = size.

    Every difference is then a factor of x: x1 = d1 e1 x, z1 = e2 d1 e1 x and so on.
    """

    def pair(image, latent):
        return ALPHA * abs(1 - image) * size + BETA * abs(p["e1"] - latent) * size

    x1, x2 = p["e1"] * p["d1"], p["e1"] * p["d2"]
    x2p = x2 * p["e2"] * p["d1"]
    rec_1, rec_2 = pair(x1, x1 * p["e2"]), pair(x2, x2 * p["e2"])
    return rec_1, rec_2, pair(x2p, x2p * p["e2"])


def losses_by_hand(p, w, size):
    rec_1, rec_2, adv = by_hand(p, w, size)
    return w * rec_1 - (1 - w) * adv, w * rec_2 + (1 - w) * adv


def phase_1_by_hand(p, w, size):
    rec_1, rec_2, _ = by_hand(p, w, size)
    return w * rec_1, w * rec_2


def gradient(loss, i, p, name, w, size):
    """By central differences, in float64."""
    h = 1e-6
    above, below = (loss({**p, name: p[name] + sign * h}, w, size)[i] for sign in (1, -1))
    return (above - below) / (2 * h)


def step_by_hand(p, w, size, update, phase2_updates):
    """One SGD step of the whole alternation."""

    def moves(i, at):
        moved = {}
        for name in ("e1", "e2", ("d1", "d2")[i]):
            both = (
                name.startswith("d")
                or phase2_updates == "all"
                or (phase2_updates == "ede2" and i == 1)
            )
            loss = losses_by_hand if both else phase_1_by_hand
            moved[name] = -RATE * gradient(loss, i, at, name, w, size)
        return moved

    if update == "joint":
        for move in [moves(0, p), moves(1, p)]:
            p = {name: p[name] + move.get(name, 0) for name in p}
        return p
    for i in (0, 1):
        move = moves(i, p)
        p = {name: p[name] + move.get(name, 0) for name in p}
    return p


@pytest.fixture
def linear(build, images):
    """An EDE whose networks multiply by one weight each."""

    def linear(**arguments):
        networks = {
            name: Scale(PAPER[name[0] + name[-1]], (256,) if "encoder" in name else (16, 16, 1))
            for name in arguments.get("variant", VARIANTS["full"]).network_names
        }
        weights = {"image_weight": ALPHA, "latent_weight": BETA, "phase_floor": FLOOR}
        model = build(**weights | networks | {"latent_dim": 256} | arguments)
        model.compile(keras.optimizers.SGD(RATE))
        return model

    return linear


def factors(model):
    return {name[0] + name[-1]: float(getattr(model, name).factor) for name in model.network_names}


@pytest.mark.parametrize("update", ["joint", "alternate"])
@pytest.mark.parametrize("phase2_updates", ["all", "decoders", "ede2"])
@pytest.mark.parametrize(
    ("n", "schedule", "w"),
    [
        (1, "inverse_epoch", 1),
        (3, "inverse_epoch", 1 / 3),
        (10, "floored_inverse_epoch", FLOOR),
    ],
)
def test_one_step_by_hand(linear, images, update, phase2_updates, n, schedule, w):
    model = linear(update=update, phase2_updates=phase2_updates, schedule=schedule)
    size = float(np.abs(model.preprocessor(images)).astype("float64").mean())
    model.set_epoch(n)
    logs = model.train_on_batch(images, return_dict=True)
    expected = step_by_hand(PAPER, w, size, update, phase2_updates)
    assert factors(model) == pytest.approx(expected, rel=1e-5)
    assert all(abs(expected[name] - PAPER[name]) > 1e-4 for name in PAPER)
    assert logs["ede1_loss"] == pytest.approx(losses_by_hand(PAPER, w, size)[0], rel=1e-4)
    assert logs["loss"] == pytest.approx(sum(by_hand(PAPER, w, size)[:2]), rel=1e-4)


def test_fixed_latent_target_gives_no_gradient_to_z(linear, images):
    """With α = 0 the encoder E1 moves through what it feeds, not through the target z."""
    model = linear(fixed_latent_target=True, update="joint", image_weight=0.0)
    size = float(np.abs(model.preprocessor(images)).astype("float64").mean())
    model.train_on_batch(images)
    # rec_i = β |e1* − e2 d_i e1| with e1* constant: its slope in e1 is −β e2 d_i or +β e2 d_i.
    slopes = [
        -np.sign(1 - PAPER["e2"] * d) * BETA * PAPER["e2"] * d * size
        for d in (PAPER["d1"], PAPER["d2"])
    ]
    assert factors(model)["e1"] == pytest.approx(PAPER["e1"] - RATE * sum(slopes), rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("phase2_updates", ["all", "decoders", "ede2"])
@pytest.mark.parametrize("arguments", [{}, {"pretext": "rotations", "fixed_latent_target": True}])
def test_the_fast_gradients_are_those_of_algorithm_1_as_printed(
    build, images, variant, phase2_updates, arguments
):
    """Of both EDEs together, as "joint" takes them, and of each alone, as "alternate" does."""
    model = build(VARIANTS[variant], phase2_updates=phase2_updates, **arguments)
    model.set_epoch(3)
    x = model.preprocessor(images)
    both = list(range(len(model.decoders)))
    for edes in [both, *([i] for i in both)]:
        found, expected = (form(model, x, edes) for form in (shared_gradients, printed_gradients))
        for a, b in zip(found[0], expected[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4)
        assert len(found[1]) == len(expected[1]) == len(edes)
        for one, other in zip(found[1], expected[1], strict=True):
            scale = max(float(np.abs(b).max()) for b in other)
            assert scale > 1e-3
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * scale)


def test_ede1_does_not_contend_in_form_cooperative(build, images):
    """Its loss and gradients are those of phase 1; EDE2's are those of the contest."""
    model = build(phase2_form="cooperative")
    contest, phase1 = build(), build(TwinEDE)
    for each in (model, contest, phase1):
        each.set_weights(model.get_weights())
        each.set_epoch(3)
    x = model.preprocessor(images)
    objectives, found = shared_gradients(model, x, [0, 1])
    _, printed = printed_gradients(model, x, [0, 1])
    _, contested = shared_gradients(contest, x, [0, 1])
    _, alone = shared_gradients(phase1, x, [0, 1])
    pairs = [*zip(found, printed, strict=True), (found[1], contested[1])]
    pairs.append((found[0], [gradient / 3 for gradient in alone[0]]))  # w = 1/3
    for one, other in pairs:
        scale = max(float(np.abs(b).max()) for b in other)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * scale)
    rec, adversarial = objectives.reconstructions, objectives.adversarial
    losses = [float(compute_loss(model, i, objectives)) for i in (0, 1)]
    expected = [rec[0] / 3, rec[1] / 3 + 2 * adversarial / 3]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("margin", [1.0, 1e6])
def test_ede1_raises_equation_3_up_to_the_margin(build, images, margin):
    """Beyond it, EDE1's gradients are those of phase 1 alone; EDE2's are as ever."""
    model = build(phase2_form="bounded", phase2_margin=margin)
    bias = model.decoder1.trainable_variables[-1]
    bias.assign(np.full(bias.shape, 2.0))  # D1 is far from the images, D2 is not
    free = build()
    free.set_weights(model.get_weights())
    for each in (model, free):
        each.set_epoch(3)
    x = model.preprocessor(images)
    objectives, found = shared_gradients(model, x, [0, 1])
    _, printed = printed_gradients(model, x, [0, 1])
    _, unlimited = shared_gradients(free, x, [0, 1])
    is_beyond = float(objectives.adversarial) > margin * float(objectives.reconstructions[1])
    assert is_beyond == (margin == 1.0)
    w = float(model.phase_weight)
    rec, adv = [float(r) for r in objectives.reconstructions], float(objectives.adversarial)
    limited = min(adv, margin * rec[1])
    assert float(compute_loss(model, 0, objectives)) == pytest.approx(
        w * rec[0] - (1 - w) * limited, rel=1e-5
    )
    assert float(compute_loss(model, 1, objectives)) == pytest.approx(
        w * rec[1] + (1 - w) * adv, rel=1e-5
    )
    for one, other in zip(found, printed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for i, same in enumerate((not is_beyond, True)):
        pairs = zip(found[i], unlimited[i], strict=True)
        assert all(np.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in pairs) == same


@pytest.mark.parametrize("steps", [1, 2])
def test_epoch_within_steps_per_execution(linear, images, steps):
    """The compiled loop reads the epoch's state, it does not bake the first one in."""
    model = linear()
    model.compile(keras.optimizers.SGD(0.0), steps_per_execution=steps)
    size = float(np.abs(model.preprocessor(images)).astype("float64").mean())
    history = model.fit(images, batch_size=35, epochs=3, verbose=0).history
    for i, name in enumerate(("ede1_loss", "ede2_loss")):
        expected = [losses_by_hand(PAPER, 1 / n, size)[i] for n in (1, 2, 3)]
        np.testing.assert_allclose(history[name], expected, rtol=1e-4)


@pytest.mark.parametrize("variant", ["twin_ede", "single_ede", "autoencoder"])
@pytest.mark.parametrize("phase2_updates", ["all", "decoders"])
def test_a_step_of_a_variant_by_hand(linear, images, variant, phase2_updates):
    """Without a phase 2 no epoch weighs anything, whatever the options of phase 2 say."""
    model = linear(variant=VARIANTS[variant], phase2_updates=phase2_updates, update="joint")
    size = float(np.abs(model.preprocessor(images)).astype("float64").mean())
    model.set_epoch(4)
    model.train_on_batch(images)

    def loss(p, w, size):
        if variant == "autoencoder":
            return (ALPHA * abs(1 - p["e1"] * p["d1"]) * size,)
        return by_hand(p, w, size)[: 2 if variant == "twin_ede" else 1]

    expected = dict(PAPER)
    for i in range(len(model.decoders)):
        for name in ("e1", "e2", ("d1", "d2")[i]):
            expected[name] -= RATE * gradient(loss, i, PAPER, name, 1, size)
    got = factors(model)
    assert got == pytest.approx({name: expected[name] for name in got}, rel=1e-5)
