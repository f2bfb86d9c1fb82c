"""The gradients of Algorithm 1: as it is printed, and in a faster form of the same sums."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from ede_keras.models import losses


class Objectives(NamedTuple):
    """The scalar losses of a batch."""

    reconstructions: list  # Equations (1) and (2), one per EDE
    adversarial: Any = 0.0  # Equation (3); 0 without a phase 2


def compute_objectives(model: Any, x: Any, training: bool) -> Objectives:
    """Algorithm 1's forward pass on a batch x in [-1, 1]: z, x_i, z_i, x2', z2' and the losses."""
    reconstructions, latents = model.phase1(x, training)
    if not model.has_adversary:
        return Objectives(reconstructions)
    return Objectives(reconstructions, model.phase2(x, latents, training))


def weigh_phases(model: Any, i: int, reconstruction: Any, adversarial: Any) -> Any:
    """EDE i + 1's loss, Equation (6) or (7); of losses, or of their gradients."""
    equation = (losses.ede1_loss, losses.ede2_loss)[i]
    if i == 0 and model.phase2_form == "cooperative":  # EDE1 does not contend
        adversarial = 0.0 * adversarial
    return equation(reconstruction, adversarial, loss_weight(model))


def limit_adversarial(model: Any, i: int, reconstructions: list, adversarial: Any) -> Any:
    """Equation (3) as EDE i + 1 takes it: EDE1 raises it to `phase2_margin` times Equation (2)."""
    if not has_limit(model, i):
        return adversarial
    highest = model.phase2_margin * tf.stop_gradient(reconstructions[1])
    return tf.where(is_below_limit(model, reconstructions, adversarial), adversarial, highest)


def has_limit(model: Any, i: int) -> bool:
    """Whether EDE i + 1 has a limit in phase 2: EDE1 has, in form "bounded"."""
    return i == 0 and model.has_adversary and model.phase2_form == "bounded"


def is_below_limit(model: Any, reconstructions: list, adversarial: Any) -> Any:
    """Whether Equation (3) is below EDE1's limit, a bool; of the whole batch, if it is shared."""
    values = [tf.stop_gradient(value) for value in (adversarial, reconstructions[1])]
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        values = replica.all_reduce(tf.distribute.ReduceOp.MEAN, values)
    return values[0] <= model.phase2_margin * values[1]


def loss_weight(model: Any) -> Any:
    """The weight w of Equations (6) and (7); 1 if there is no Equation (3)."""
    return model.phase_weight if model.has_adversary else 1.0


def compute_loss(model: Any, i: int, objectives: Objectives) -> Any:
    """EDE i + 1's loss, Equation (6) or (7), a scalar."""
    adversarial = limit_adversarial(model, i, *objectives)
    return weigh_phases(model, i, objectives.reconstructions[i], adversarial)


def printed_gradients(model: Any, x: Any, edes: Iterable[int]) -> tuple[Objectives, list[list]]:
    """The gradients as Algorithm 1 is printed: all losses, then each EDE's derivatives.

    This is the form to read and to compare with; training uses `shared_gradients`.

    Args:
        model: A `TwoPhaseTrainer`.
        x: A batch in [-1, 1].
        edes: Which EDEs, 0 and 1.

    Returns:
        `(objectives, gradients)`: for each EDE the gradients, in the order of `ede_variables`.
    """
    with tf.GradientTape(persistent=True) as tape:
        objectives = compute_objectives(model, x, training=True)
        share = _share()
        parts = {
            i: (
                share * weigh_phases(model, i, objectives.reconstructions[i], 0.0),
                share * weigh_phases(model, i, 0.0, limit_adversarial(model, i, *objectives)),
            )
            for i in edes
        }
    gradients = []
    for i, (phase1, phase2) in parts.items():
        variables = model.ede_variables(i)
        total = tape.gradient(phase1, variables)
        if model.has_adversary:
            # `phase2_updates` says which weights the phase-2 loss may move.
            moved = {id(variable) for variable in model.phase2_variables(i)}
            by_phase2 = tape.gradient(phase2, variables)
            total = [
                g1 if g2 is None or id(variable) not in moved else g1 + g2
                for variable, g1, g2 in zip(variables, total, by_phase2, strict=True)
            ]
        gradients.append(total)
    return objectives, gradients


def shared_gradients(model: Any, x: Any, edes: Iterable[int]) -> tuple[Objectives, list[list]]:
    """The same gradients with fewer passes; arguments and result as in `printed_gradients`.

    Both EDEs' phase-2 losses differ only by a factor, so Equation (3) is differentiated once. Its
    gradient by the latents z and z2 then joins that of phase 1 on the way back through them.
    """
    with tf.GradientTape(persistent=True) as tape:
        reconstructions, latents = model.phase1(x, training=True)
    if not model.has_adversary:
        latents = []
    adversarial, by_latents, by_weights = _differentiate_phase2(model, x, latents)
    objectives = Objectives(reconstructions, adversarial)
    gradients = [_join(model, tape, i, objectives, latents, by_latents, by_weights) for i in edes]
    return objectives, gradients


def _share():
    """The weight of a replica's mean loss: optimizers add up the gradients of all replicas."""
    return 1.0 / tf.distribute.get_strategy().num_replicas_in_sync


def _by_id(variables):
    # Names of variables need not differ between given networks.
    return {id(variable): variable for variable in variables}


def _differentiate_phase2(model, x, latents):
    """Equation (3), and its gradients by the latents and, in a dict, by the weights."""
    if not latents:
        return 0.0, [], {}
    with tf.GradientTape() as tape:
        tape.watch(latents)
        adversarial = model.phase2(x, latents, training=True)
    weights = _by_id(variable for i in (0, 1) for variable in model.ede_variables(i))
    by_latents, by_weights = tape.gradient(adversarial, (latents, weights))
    by_latents = [
        tf.zeros_like(z) if gradient is None else gradient
        for z, gradient in zip(latents, by_latents, strict=True)
    ]
    by_weights = {key: gradient for key, gradient in by_weights.items() if gradient is not None}
    return adversarial, by_latents, by_weights


def _join(model, tape, i, objectives, latents, by_latents, by_weights):
    """EDE i + 1's loss, Equation (6) or (7), differentiated by its variables."""
    share = _share()
    reconstruction = objectives.reconstructions[i]
    phase1 = tf.convert_to_tensor(weigh_phases(model, i, share, 0.0))
    phase2 = tf.convert_to_tensor(weigh_phases(model, i, 0.0, share))
    if has_limit(model, i):
        phase2 *= tf.cast(is_below_limit(model, *objectives), phase2.dtype)
    variables = _by_id(model.ede_variables(i))
    moved = _by_id(model.phase2_variables(i))
    # Phase 2 reaches the weights of phase 1 through the latents.
    seeds = [tf.cast(phase2, gradient.dtype) * gradient for gradient in by_latents]
    if not latents or moved.keys() == variables.keys():
        gradients = tape.gradient([reconstruction, *latents], variables, [phase1, *seeds])
    else:
        gradients = tape.gradient(reconstruction, variables, phase1)
        for key, gradient in tape.gradient(latents, moved, seeds).items():
            if gradient is not None:  # none of the latents depends on D1
                gradients[key] += gradient
    for key in moved.keys() & by_weights.keys():
        gradients[key] += phase2 * by_weights[key]
    return list(gradients.values())
