"""Training: which weights each optimizer moves, the epoch, compilation and mirrored images."""

import keras
import numpy as np
import pytest
from commands import slow

from ede_keras.models.algorithm1 import shared_gradients


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
            "run_eagerly": True,
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
