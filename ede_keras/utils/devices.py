"""Training on several devices or machines, each of which processes a part of every batch."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import tensorflow as tf

from ede_keras.errors import InputError

T = TypeVar("T")

STRATEGIES = {
    "one": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
}


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Creates a distribution strategy.

    Call this before TensorFlow runs any operation; "multi_worker" requires it.

    Args:
        name: A key of `STRATEGIES`. "one" uses the first device of this process, "mirrored" all
            devices of this machine, and "multi_worker" all machines that the environment variable
            TF_CONFIG lists. Each of these must run the same command.

    Returns:
        The strategy.

    Raises:
        InputError: `name` is "multi_worker" and TF_CONFIG is not set.
    """
    if name == "multi_worker" and not os.environ.get("TF_CONFIG"):
        raise InputError(
            "The strategy multi_worker needs the environment variable TF_CONFIG. Set it on each "
            'worker: {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
            '"index": 0}}. Received: no TF_CONFIG'
        )
    return STRATEGIES[name]()


def count_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together, at least 1."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return max(sum(len(cluster.get(kind, ())) for kind in ("chief", "worker")), 1)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the chief, the only one that writes files."""
    resolver = strategy.cluster_resolver
    if count_workers(strategy) == 1:
        return True
    if "chief" in resolver.cluster_spec().as_dict():
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def check_jit(strategy: tf.distribute.Strategy, jit_compile: bool | str) -> bool | str:
    """`jit_compile`, but False if several devices share a batch; a `ValueError` if it is True."""
    is_shared = strategy.num_replicas_in_sync > 1
    if is_shared and jit_compile is True:
        raise ValueError(
            "XLA cannot compile a step that several devices share. Use jit_compile=False, or one "
            f"device. Received: jit_compile=True under {type(strategy).__name__}"
        )
    return False if is_shared else jit_compile


def run_on_chief(
    strategy: tf.distribute.Strategy, function: Callable[[], T], results: Sequence[T]
) -> T:
    """Runs a function on the chief only, and returns its result on all workers.

    Args:
        strategy: The strategy that the workers share.
        function: Called without arguments, on the chief only.
        results: All values that `function` can return.

    Returns:
        The value that `function` returned on the chief.

    Raises:
        InputError: On the other workers, if `function` raised an error on the chief. The chief
            itself raises the original error.
    """
    if not is_chief(strategy):
        number = broadcast_from_chief(strategy, 0)
        if number == 0:
            raise InputError(
                "The chief, which is the first worker, could not start. Fix the error that the "
                "chief printed, and start all workers again."
            )
        return results[number - 1]
    try:
        result = function()
    except BaseException:
        broadcast_from_chief(strategy, 0)
        raise
    broadcast_from_chief(strategy, 1 + results.index(result))
    return result


def broadcast_from_chief(strategy: tf.distribute.Strategy, number: int) -> int:
    """Sends an integer from the chief to all workers.

    All workers must call this; each waits until the others have called it too.

    Args:
        strategy: The strategy that the workers share.
        number: The integer to send, int32; ignored on workers other than the chief.

    Returns:
        The chief's `number`, on all workers.
    """
    if count_workers(strategy) == 1:
        return number

    def make_value(_: object) -> tf.Tensor:
        return tf.constant(number if is_chief(strategy) else 0)

    values = strategy.experimental_distribute_values_from_function(make_value)
    return int(strategy.reduce("SUM", values, axis=None))
