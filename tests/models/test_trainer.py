"""Algorithm 1 against arithmetic done by hand."""

import keras
import numpy as np
import pytest
from commands import slow

from ede_keras.models.algorithm1 import printed_gradients, shared_gradients
from ede_keras.models.variants import VARIANTS

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


def weights_of(model):
    return {
        name: [v.numpy() for v in getattr(model, name).trainable_variables]
        for name in model.network_names
    }


def moved(before, after):
    return {
        name
        for name in before
        if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))
    }


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


@pytest.mark.parametrize(("ede", "own"), [(0, "decoder1"), (1, "decoder2")])
def test_an_ede_never_touches_the_others_decoder(build, images, ede, own):
    model = build(phase2_updates="all")
    model.set_epoch(4)
    before = weights_of(model)
    _, (gradients,) = shared_gradients(model, model.preprocessor(images), [ede])
    model._optimizers()[ede].apply(gradients, model.ede_variables(ede))
    assert moved(before, weights_of(model)) == {"encoder1", "encoder2", own}


def test_each_optimizer_holds_the_encoders_and_its_own_decoder(build):
    model = build()
    for i, optimizer in enumerate((model.optimizer, model.ede2_optimizer)):
        expected = sum(
            len(network.trainable_variables)
            for network in (model.encoder1, model.encoder2, model.decoders[i])
        )
        assert len(optimizer._trainable_variables) == expected
        assert optimizer.built


def test_epoch_follows_fit(build, images):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append((epoch, float(self.model.epoch), float(self.model.phase_weight)))

    model = build(schedule="inverse_epoch")
    model.fit(images, epochs=6, initial_epoch=3, callbacks=Spy(), verbose=0)
    np.testing.assert_allclose(seen, [(3, 4, 1 / 4), (4, 5, 1 / 5), (5, 6, 1 / 6)])


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


def test_epochs_count_from_1(build):
    with pytest.raises(ValueError, match="count from 1"):
        build().set_epoch(0)


def test_a_learning_rate_set_on_the_first_optimizer_reaches_both(build, images):
    model = build()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    before = weights_of(model)
    model.fit(images, epochs=1, callbacks=[scheduler], verbose=0)
    assert moved(before, weights_of(model)) == set()


def test_two_optimizers_of_ones_own(build, images):
    model = build(
        compile_arguments={
            "optimizer": keras.optimizers.SGD(0.0),
            "ede2_optimizer": "adam",
        }
    )
    before = weights_of(model)
    model.fit(images, verbose=0)
    assert moved(before, weights_of(model)) == {"encoder1", "encoder2", "decoder2"}


@pytest.mark.parametrize("jit_compile", [True, slow("auto"), slow(False)])
def test_jit_compile_gives_the_same_step(build, images, jit_compile):
    model = build(compile_arguments={"jit_compile": jit_compile})
    logs = model.train_on_batch(images, return_dict=True)
    assert set(logs) == {"loss", "ede1_loss", "ede2_loss"}
    keras.utils.set_random_seed(0)
    plain = build(compile_arguments={"run_eagerly": True}).train_on_batch(images, return_dict=True)
    assert logs == pytest.approx(plain, rel=1e-4)


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


def test_averaging_optimizers_are_refused(build):
    with pytest.raises(ValueError, match="use_ema"):
        build(compile_arguments={"optimizer": keras.optimizers.Adam(use_ema=True)})


def test_every_other_image_of_a_batch_is_mirrored(build, images):
    """What is learned from; what is scored and validated is as it came."""
    x = build().preprocessor(images[:5])
    found = np.asarray(build(mirror=True).augment(x))
    np.testing.assert_array_equal(found[::2], x[::2])
    np.testing.assert_array_equal(found[1::2], x[1::2, :, ::-1])
    by_hand = np.where(np.arange(70)[:, None, None, None] % 2, images[:, :, ::-1], images)
    weights = []
    for mirror, seen in ((True, images), (False, by_hand)):
        keras.utils.set_random_seed(1)
        model = build(mirror=mirror)
        model.fit(seen, batch_size=70, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    models = [build(mirror=mirror) for mirror in (True, False)]
    models[1].set_weights(models[0].get_weights())
    one, other = (model.compute_terms(images) for model in models)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
