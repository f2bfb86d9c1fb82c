"""Several devices, or machines, that share each batch."""

import os

import tensorflow as tf

from ede_keras.errors import InputError

STRATEGIES = {
    "one": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
}


def make_strategy(name):
    """One of `STRATEGIES`: this process' first device; all of its machine; or, by TF_CONFIG, the
    machines of all workers, each of which runs the same command.

    It comes before anything that TensorFlow computes, as "multi_worker" demands.

    Raises:
        InputError: "multi_worker" without TF_CONFIG.
    """
    if name == "multi_worker" and not os.environ.get("TF_CONFIG"):
        raise InputError(
            "The strategy multi_worker needs the environment variable TF_CONFIG, on each worker: "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        )
    return STRATEGIES[name]()


def count_workers(strategy):
    """How many processes train together."""
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return max(sum(len(cluster.get(kind, ())) for kind in ("chief", "worker")), 1)


def is_chief(strategy):
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    if count_workers(strategy) == 1:
        return True
    if "chief" in resolver.cluster_spec().as_dict():
        return resolver.task_type == "chief"
    return resolver.task_type == "worker" and resolver.task_id == 0


def ask_chief(strategy, choose, answers):
    """What `choose()`, one of `answers`, says in the chief, in all processes.

    Raises:
        InputError: In the others, if it raises in the chief.
    """
    if not is_chief(strategy):
        number = tell_all(strategy, 0)
        if number == 0:
            raise InputError("The chief, which is the first worker, did not begin; it says why.")
        return answers[number - 1]
    try:
        answer = choose()
    except BaseException:
        tell_all(strategy, 0)
        raise
    tell_all(strategy, 1 + answers.index(answer))
    return answer


def tell_all(strategy, number):
    """The chief's number, an integer, in all processes; each of them waits for it here."""
    if count_workers(strategy) == 1:
        return number

    def own(_):
        return tf.constant(number if is_chief(strategy) else 0)

    values = strategy.experimental_distribute_values_from_function(own)
    return int(strategy.reduce("SUM", values, axis=None))
