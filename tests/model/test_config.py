"""Configs refuse what cannot work, with one line that names the field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetool.errors import InputError
from aetool.model import AutoencoderConfig, TrainingConfig

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(-2, 5), st.text(max_size=2), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_features", 0),
        ("n_features", 2.0),
        ("n_features", True),
        ("embedding_dim", -1),
        ("embedding_dim", 10**12),
        ("hidden_dims", (4, 0)),
        ("hidden_dims", 3),
        ("hidden_dims", "ab"),
        ("activation", "swish"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("dropout", "0.5"),
        ("dropout_on", "input"),
        ("dropout_on", "hidden"),  # there is no hidden layer: the option would do nothing
        ("batch_norm", 1),
        ("input_noise", -1.0),
        ("input_noise", float("inf")),
    ],
)
def test_wrong_architecture_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"expected .*found") as caught:
        AutoencoderConfig(**{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", 10**400),
        ("weight_decay", -1e-9),
        ("validation_fraction", 0.0),
        ("validation_fraction", 1.0),
        ("patience", 0),
        ("seed", -1),
        ("seed", 1.5),
        ("seed", 2**63),
        ("impute", "mode"),
    ],
)
def test_wrong_training_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{field}: expected .*found"):
        TrainingConfig(**{field: value})


@given(st.sampled_from([AutoencoderConfig, TrainingConfig]), st.data())
def test_any_value_is_taken_or_refused_as_input(kind: type[Any], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(kind.__dataclass_fields__)))
    try:
        kind(**{field: data.draw(ANYTHING)})
    except InputError as error:
        assert "\n" not in str(error)


@given(st.integers(1, 10**6))
def test_every_width_has_an_architecture(n_features: int) -> None:
    assert AutoencoderConfig.for_width(n_features).n_features == n_features


def test_256_columns_give_the_reference() -> None:
    assert AutoencoderConfig.for_width(256) == AutoencoderConfig()


@given(st.integers(10, 10**6), st.one_of(st.none(), st.floats(0.001, 0.999)))
def test_rows_remain_on_either_side_of_the_split(rows: int, share: float | None) -> None:
    held_out = TrainingConfig(validation_fraction=share).held_out_of(rows)
    assert 2 <= held_out <= rows - 2
