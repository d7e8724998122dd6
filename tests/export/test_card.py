"""The model card: a header that is YAML, a table that is Markdown, facts that are the manifest's."""

import json
from pathlib import Path

import numpy as np
import pytest

from aetool.bundle.bundle import Bundle
from aetool.bundle.card import model_card
from aetool.bundle.manifest import Feature


def header_and_body(card: str) -> tuple[dict[str, str], list[str]]:
    lines = card.split("\n")
    assert lines[0] == "---"
    end = lines.index("---", 1)
    return dict(line.split(": ", 1) for line in lines[1:end]), lines[end + 1 :]


def cells(body: list[str]) -> dict[str, str]:
    """The facts of the table; a bar inside a cell is escaped."""
    rows = [line.replace("\\|", "\0").split("|") for line in body if line.startswith("|")]
    assert {len(row) for row in rows} == {4}, "every row has two cells"
    return {row[1].strip(): row[2].strip().replace("\0", "|") for row in rows}


def test_published_card_is_that_of_the_manifest(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card == model_card(Bundle.open(bundle).manifest)


def test_header_is_what_a_hub_reads(bundle: Path) -> None:
    header, _ = header_and_body((bundle / "README.md").read_text())
    assert header["library_name"] == "aetool"
    assert header["pipeline_tag"] == "tabular-classification"
    assert header["tags"] == "[autoencoder, anomaly-detection, onnx]"
    assert json.loads(header["model_name"]) == "cancer"  # a JSON string is a YAML one


def test_facts_are_those_of_the_manifest(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    _, body = header_and_body((bundle / "README.md").read_text())
    facts = cells(body)
    provenance, rule = manifest.provenance, manifest.threshold
    assert facts["opset"] == f"{manifest.opset} (IR {manifest.ir_version})"
    assert f"{provenance['rows_trained']} rows of `cancer.csv`, seed 0, 8 epochs" in facts["made from"]
    shown = f"{np.float32(rule['value'])!s}: {rule['method']}, flags {rule['flagged_share']:.2%} of"
    assert facts["threshold"].startswith(shown)
    assert "0 decisions flipped" in facts["proven"]
    assert "`c0`, `c1`" in facts["features"]
    assert facts["features"].endswith("and 10 more")


@pytest.mark.parametrize("name", ['say "hi": now', "a|b", "`tick`", "émoji 😀", "# ---", "[link](x)", "<b>"])
def test_odd_names_do_not_break_it(bundle: Path, name: str) -> None:
    manifest = Bundle.open(bundle).manifest
    odd = manifest._replace(name=name, features=tuple(Feature(f"{name}\n{i}") for i in range(3)))
    header, body = header_and_body(model_card(odd))
    assert json.loads(header["model_name"]) == name
    assert "ud83d" not in header["model_name"]
    assert len([line for line in body if line.startswith("# ")]) == 1
    assert cells(body)["features"].count("`") == 6


@pytest.mark.parametrize("scaled", [True, False])
def test_the_units_are_said_as_they_are(scaled: bool, bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    card = model_card(manifest._replace(score={**manifest.score, "scaled": scaled}))
    assert ("raw units; scaling is inside the graphs" in card) is scaled
    assert ("nothing is scaled" in card) is not scaled


def test_a_bundle_of_an_older_aetool_says_what_it_said(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    score = {key: value for key, value in manifest.score.items() if key != "scaled"}
    assert "raw units; scaling is inside" in model_card(manifest._replace(score=score))
    assert "nothing is scaled" in model_card(manifest._replace(score=score, provenance={"module": "Net"}))


def test_only_tables_are_called_tabular_and_the_reference_is_named(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    header, _ = header_and_body(model_card(manifest._replace(input_shape=(3, 8, 8))))
    assert "pipeline_tag" not in header
    fp32 = manifest.variants["fp32"]
    adopted = fp32._replace(figures={**fp32.figures, "reference": "the file itself, one row at a time"})
    assert "(the file itself, one row at a time)" in model_card(manifest._replace(variants={"fp32": adopted}))


@pytest.mark.parametrize("value", [0.1, 2.41868034, 1e-30, 123456.78])
def test_the_threshold_is_shown_as_exactly_as_float32_holds_it(value: float, bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    held = float(np.float32(value))
    _, body = header_and_body(model_card(manifest._replace(threshold={**manifest.threshold, "value": held})))
    assert np.float32(cells(body)["threshold"].split(":")[0]) == np.float32(value)
