# SPDX-License-Identifier: Apache-2.0
"""Any layer, any method: overrides, dictionaries, YAML files, and the errors of all three."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qat_models import data_for, make

import tinyq.qat as qat
from tinyq.errors import InputError
from tinyq.qat.config import Role, layer_spec
from tinyq.quantizers import LayerSpec, weight_quantizer

MIXED = """\
preset: w4a8_lut
scale: per_tensor
first_last: int8
overrides:
  stem: int8
  "*depth*": {weights: apot4, scale: per_channel, activation_bits: 6}
  point: {weights: pot3, pot_rounding: nearest}
  wide: {table_learning: "fixed:laplace", learn_exponents: yes}
"""


@pytest.fixture
def mixed(tmp_path: Path) -> qat.QuantConfig:
    (tmp_path / "mixed.yaml").write_text(MIXED)
    return qat.read_config(tmp_path / "mixed.yaml")


def test_yaml_and_dictionary_give_the_same(mixed: qat.QuantConfig) -> None:
    overrides = {
        "stem": "int8",
        "*depth*": {"weights": "apot4", "scale": "per_channel", "activation_bits": 6},
        "point": {"weights": "pot3", "pot_rounding": "nearest"},
        "wide": {"table_learning": "fixed:laplace", "learn_exponents": True},
    }
    expected = qat.QuantConfig("lut4", scale="per_tensor", first_last="int8", overrides=overrides)
    assert mixed == expected
    options = {"preset": "w4a8_lut", "scale": "per_tensor", "first_last": "int8"}
    assert qat.read_config({**options, "overrides": overrides}) == expected
    assert qat.read_config(expected) is expected


def test_layers_get_what_is_said_about_them(mixed: qat.QuantConfig) -> None:
    def of(name: str, **role: bool) -> LayerSpec:
        return layer_spec(mixed, name, Role(**role))

    base = LayerSpec("lut4", "per_tensor")
    assert of("any") == base
    assert of("any", outer=True) == LayerSpec("int8", "per_tensor")
    assert of("any", standalone=True) == LayerSpec("int8", "per_tensor")
    assert of("stem", outer=True) == LayerSpec("int8", "per_tensor")
    assert of("a_depthwise") == LayerSpec("apot4", "per_channel", activation_bits=6)
    assert of("point", outer=True) == LayerSpec("pot3", "per_tensor", pot_rounding="nearest")
    wide = LayerSpec("lut4", "per_tensor", table_learning="fixed:laplace", learn_exponents=True)
    assert of("wide") == wide


def test_the_first_matching_override_wins_over_place_and_width() -> None:
    overrides = {"a*": {"activation_bits": 4}, "ab": "int2"}
    config = qat.QuantConfig("int4", output_bits=7, overrides=overrides)
    assert layer_spec(config, "ab", Role(final=True)).activation_bits == 4
    assert layer_spec(config, "ab", Role()).weights == "int4"
    assert layer_spec(config, "b", Role(final=True)).activation_bits == 7


def test_an_encoding_as_override_means_its_own_method() -> None:
    config = qat.QuantConfig("int8", method="special", overrides={"a": "int8"})
    assert layer_spec(config, "a", Role()).method == ""
    assert layer_spec(config, "b", Role()).method == "special"
    with pytest.raises(InputError, match="method='special'"):
        weight_quantizer(layer_spec(config, "b", Role()))


def test_presets_are_named_for_what_they_are() -> None:
    for name in qat.PRESETS:
        config, (widths, *_) = qat.preset(name), name.split("_")
        bits, activations = widths[1:].split("a")
        assert config.weights.endswith(bits) and config.activation_bits == int(activations)
        assert weight_quantizer(config.base()).encoding == config.weights
    families = {n: qat.preset(f"w4a8_{n}").weights for n in ("lut", "pot", "apot")}
    assert families == {"lut": "lut4", "pot": "pot4", "apot": "apot4"}


def test_overrides_reach_the_layers() -> None:
    overrides = {
        "separable": {"weights": "pot4", "activation_bits": 5},
        "sum": {"activation_bits": 6},
        "pla*": {"weights": "apot4", "scale": "per_tensor"},
    }
    model = make("two_ended")
    config = qat.QuantConfig("lut3", overrides=overrides)
    found = qat.quantize(model, config, data_for(model, 8))
    for name in ("separable", "separable_depthwise"):
        layer = found.get_layer(name)
        assert (layer.weight_quantizer.encoding, layer.bits) == ("pot4", 5)
    plain = found.get_layer("plain").weight_quantizer
    assert (plain.encoding, plain.scale) == ("apot4", "per_tensor")
    assert (found.get_layer("sum").bits, found.get_layer("plain").bits) == (6, 8)


@pytest.mark.parametrize("pattern", ["stme", "separable_activation", "one"])
def test_overrides_that_change_nothing_are_refused(pattern: str) -> None:
    """A misspelt layer, a ReLU that is folded into a convolution, an input."""
    model = make("two_ended")
    config = qat.QuantConfig("lut4", overrides={"plain": "int8", pattern: "int4"})
    with pytest.raises(InputError, match=rf"'{pattern}' matches no layer .* separable, sum"):
        qat.quantize(model, config, data_for(model, 4))


REFUSED: list[tuple[Any, str]] = [
    ({"wieghts": "int4"}, "'wieghts' is unknown"),
    ({"weights": "int5"}, "weights='int5' is unknown"),
    ({"weights": 4}, "weights=4 is no str"),
    ({"activation_bits": "4"}, "activation_bits='4' is no int"),
    ({"activation_bits": True}, "is no int"),
    ({"activation_bits": 9}, "activation_bits=9"),
    ({"scale": "per_row"}, "scale='per_row'"),
    ({"preset": "w1"}, "preset 'w1' is unknown"),
    ({"overrides": ["stem"]}, "must map patterns"),
    ({"overrides": {1: "int8"}}, "override 1"),
    ({"overrides": {"stem": None}}, "override 'stem'"),
    ({"overrides": {"stem": "int5"}}, "override 'stem': weights='int5'"),
    ({"overrides": {"stem": {"first_last": "int8"}}}, "override 'stem': option 'first_last'"),
    ({"overrides": {"stem": {"pot_rounding": "up"}}}, "override 'stem': pot_rounding='up'"),
    ({"overrides": {"stem": {"learn_exponents": 1}}}, "learn_exponents=1 is no bool"),
    ({"input_bits": 1}, "input_bits=1: activations have 2 to 8 bits"),
    ({"input_bits": 9}, "input_bits=9: activations have 2 to 8 bits"),
    ({"output_bits": 1}, "output_bits=1: activations have 2 to 8 bits"),
    ({"output_bits": 9}, "output_bits=9: activations have 2 to 8 bits"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refused_options(options: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        qat.read_config(options)
    assert message in str(caught.value)


#: options, and what they would need to have an effect
WITHOUT_EFFECT: list[tuple[dict[str, Any], str]] = [
    ({"weights": "int8", "accumulator_bits": 14}, "method a2q or a2q_plus"),
    ({"weights": "lut4", "pot_rounding": "nearest"}, "weights pot4 or pot3"),
    ({"weights": "apot4", "pot_rounding": "nearest"}, "weights pot4 or pot3"),
    ({"weights": "int4", "table_learning": "recluster"}, "table weights (lut4, lut3, lut2)"),
    ({"weights": "pot4", "learn_exponents": True}, "table weights (lut4, lut3, lut2)"),
    ({"method": "a2q", "zero_center": False}, "method a2q_plus"),
]


@pytest.mark.parametrize(("options", "needs"), WITHOUT_EFFECT)
def test_options_without_effect_are_refused(options: dict[str, Any], needs: str) -> None:
    """In a dictionary, also at their default value, and in an override."""
    name, value = list(options.items())[-1]
    expected = f"{name}={value} has no effect without {needs}"
    with pytest.raises(InputError) as caught:
        qat.read_config(options)
    assert str(caught.value) == expected
    with pytest.raises(InputError) as caught:
        qat.QuantConfig("int8", overrides={"stem": options})
    assert str(caught.value) == f"override 'stem': {expected}"
    default = getattr(LayerSpec(), name)
    with pytest.raises(InputError, match="has no effect without"):
        qat.read_config({**options, name: default})


def test_an_option_for_some_layers_only_has_an_effect() -> None:
    for options in (
        {"pot_rounding": "nearest", "overrides": {"point": "pot4"}},
        {"table_learning": "recluster", "overrides": {"point": {"weights": "lut3"}}},
        {"accumulator_bits": 12, "overrides": {"point": {"method": "a2q"}}},
    ):
        name, value = next(iter(options.items()))
        assert getattr(layer_spec(qat.read_config(options), "point", Role()), name) == value


@pytest.mark.parametrize("method", ["a2q", "a2q_plus"])
def test_a_named_accumulator_width_bounds_the_first_layer_too(method: str) -> None:
    overrides = {"stem": {"accumulator_bits": 20}, "other": {"activation_bits": 4}}
    config = qat.QuantConfig("int8", method=method, overrides=overrides)
    named = layer_spec(config, "stem", Role(outer=True))
    assert (named.method, named.accumulator_bits, named.zero_center) == (method, 20, False)
    assert layer_spec(config, "stem", Role()).method == method
    assert layer_spec(config, "other", Role(outer=True)).method == ""


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "a: [1\n", "", "weights: int5\n", "x: !!python/object:os.x {}\n"]
)
def test_refused_files_are_named_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        qat.read_config(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\x00\xfe")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(InputError, match="cannot be read as YAML"):
            qat.read_config(path)
