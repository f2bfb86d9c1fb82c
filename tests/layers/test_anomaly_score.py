import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ede_keras.errors import InputError
from ede_keras.layers import anomaly_score


def test_equation_8_and_the_decision():
    layer = anomaly_score.AnomalyScore({"b": 0.25, "a": 0.75})
    layer.threshold.assign(2.0)
    terms = {"a": np.array([2.0, 8.0, 2.0], "float32"), "b": np.array([1.0, 4.0, 2.0], "float32")}
    score, label = layer(terms)
    np.testing.assert_allclose(score, [1.75, 7.0, 2.0])
    assert np.asarray(label).tolist() == [0, 1, 0]  # above φ, not at it


def test_before_the_threshold_is_set_nothing_is_anomalous():
    _, label = anomaly_score.AnomalyScore({"a": 1.0})({"a": np.array([3e38], "float32")})
    assert np.asarray(label).tolist() == [0]


def test_a_score_that_is_no_number_is_the_highest_finite_one():
    layer = anomaly_score.AnomalyScore({"a": 1.0})
    layer.threshold.assign(5.0)
    score, label = layer({"a": np.array([np.nan, np.inf, 1.0], "float32")})
    assert np.isfinite(score).all() and np.asarray(label).tolist() == [1, 1, 0]


def test_the_scale_goes_by_name_and_reliability():
    layer = anomaly_score.AnomalyScore({"b": 2.0, "a": 1.0})
    held_out = {"a": np.array([1.0, 3.0]), "b": np.array([10.0, 30.0])}
    layer.adapt(held_out, {"b": 0.5})
    score, _ = layer({"a": np.array([4.0], "float32"), "b": np.array([50.0], "float32")})
    np.testing.assert_allclose(score, [2 * 0.5 * (50 - 20) / 10 + (4 - 2) / 1])


def test_a_lone_term_is_the_score_if_it_is_larger():
    layer = anomaly_score.AnomalyScore({"a": 2.0, "b": 1.0, "peak": 1.0}, "peak")
    random = np.random.default_rng(0)
    held_out = {name: random.normal(5, 3, 200) for name in ("a", "b", "peak")}
    layer.adapt(held_out, {})
    others = sum(
        weight * (held_out[name] - held_out[name].mean()) / held_out[name].std()
        for name, weight in {"a": 2.0, "b": 1.0}.items()
    )
    new = {"a": [5.0, 20.0, 5.0], "b": [5.0, 5.0, 5.0], "peak": [5.0, 5.0, 50.0]}
    found = layer.weigh({name: np.array(values, "float32") for name, values in new.items()})
    sums = np.asarray(found["a"]) + np.asarray(found["b"])
    middle = np.median(held_out["peak"])
    usual = 1.4826 * np.median(np.abs(held_out["peak"] - middle))
    deviations = (np.array(new["peak"]) - middle) / usual
    alone = others.std() * (deviations - anomaly_score.HANDICAP)
    np.testing.assert_allclose(sums + np.asarray(found["peak"]), np.maximum(sums, alone), rtol=1e-4)
    assert (np.asarray(found["peak"]) > 0).tolist() == [False, False, True]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_terms_that_do_not_match_the_weights(names):
    layer = anomaly_score.AnomalyScore({"a": 1.0, "b": 1.0})
    with pytest.raises(InputError, match="Expected the terms a, b. Received: a"):
        layer.adapt({name: np.zeros(3) for name in names}, {})


@example([0.0], 0.9999999999999999)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    st.floats(0, 1, exclude_max=True),
)
def test_at_most_the_contamination_exceeds_the_threshold(scores, contamination):
    threshold = anomaly_score.normal_quantile(scores, contamination)
    assert (np.float32(scores) > np.float32(threshold)).mean() <= contamination + 1e-9


@pytest.mark.parametrize(
    ("contamination", "expected"), [(0, 100), (0.01, 99), (0.05, 95), (0.07, 93), (0.5, 50)]
)
def test_quantile_by_hand(contamination, expected):
    assert anomaly_score.normal_quantile(np.arange(1, 101)[::-1], contamination) == expected


@pytest.mark.parametrize("contamination", [-0.1, 1, 1.5])
def test_contamination_is_a_fraction(contamination):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        anomaly_score.normal_quantile([1.0], contamination)
