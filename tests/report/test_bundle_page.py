"""The page of a bundle: whole and safe as a document."""

import dataclasses
import re

import numpy as np
import pytest
from bench_results import document, measurement
from portraits import BUNDLE, SEGMENTS, samples, with_segments
from test_page import HOSTILE, everything_is_in_order

from aetool.bundle.manifest import Feature
from aetool.errors import InputError
from aetool.report import bundle_page, read_result
from aetool.report.bundle.data import portray, sweep
from aetool.report.bundle.facts import stability


@pytest.fixture(scope="module")
def drifted():
    """Normal rows, one column of which has moved beyond all that was trained on."""
    rows, labels = samples()
    moved = rows[~labels]
    moved[:, 0] += 100
    return portray(BUNDLE, moved, source="moved.csv")


def test_the_page_offers_the_command_that_keeps_the_threshold(labelled):
    odd = bundle_page(dataclasses.replace(labelled, place="exported/my bundle"))
    assert f"aetool calibrate &#x27;exported/my bundle&#x27; --threshold {labelled.threshold:.6g}</code>" in odd
    assert "aetool calibrate" not in bundle_page(dataclasses.replace(labelled, precision="int8"))


def test_probabilities_come_with_their_reliability(labelled):
    bins = [{"rows": 40, "stated": 0.1, "actual": 0.05}, {"rows": 9, "stated": 0.8, "actual": 0.9}]
    calibrated = labelled.manifest._replace(calibration={"reliability": bins})
    page = bundle_page(dataclasses.replace(labelled, manifest=calibrated))
    assert "stated 80.0\u00a0%, 90.0\u00a0% of 9 rows" in page and "Reliability" not in bundle_page(labelled)
    spoilt = labelled.manifest._replace(calibration={"reliability": [{"rows": "many"}]})
    assert "Reliability" not in bundle_page(dataclasses.replace(labelled, manifest=spoilt))


def test_everything_is_there_and_in_order(labelled):
    found = everything_is_in_order(bundle_page(with_segments(labelled)))
    for heading in ("Scores", "Rows", "Embeddings", "Segments", "Drift", "Training", "Model card"):
        assert heading in found.texts
    assert "Made from the golden rows" not in found.text
    assert "Segment 1, Large ones" in found.text and "segment 1, Large ones" in found.text
    assert "typical 17, everybody 13 (30.8\xa0% more)" in found.text
    assert found.tags.count("table") == 5 + len(labelled.worst) + len(
        labelled.best
    )  # a table for each row; the rest once


def test_every_section_is_linked_at_the_top(labelled):
    text = bundle_page(labelled)
    navigation = text[text.index("<nav") : text.index("</nav>")]
    links = re.findall(r'href="#([^"]*)">([^<]*)<', navigation)
    assert links == re.findall(r'<h2 id="([^"]*)">([^<]*)<', text) and len(links) >= 5


def test_the_confusion_matrix_counts_every_row_once(labelled):
    text = bundle_page(labelled)
    true_positives, false_negatives, false_positives, true_negatives = (
        int(re.search(rf'id="does-{key}">([\d,]+)<', text)[1])
        for key in ("true-positives", "false-negatives", "false-positives", "true-negatives")
    )
    assert true_positives + false_negatives == labelled.anomalies
    assert true_positives + false_positives == labelled.sweep.flagged[labelled.sweep.own]
    assert false_positives + true_negatives == labelled.rows - labelled.anomalies


def test_without_a_threshold_none_is_named(labelled):
    rows, labels = samples()
    none = float(np.finfo(np.float32).max)
    unset = dataclasses.replace(labelled, threshold=none, sweep=sweep(np.ones(len(rows)), none, labels))
    text = everything_is_in_order(bundle_page(unset)).text
    assert "No threshold is set" in text and "none set" in text
    assert "340282" not in text and "e+38" not in text and "of 100 rows (" not in text


def test_drift_stands_in_the_headline_with_columns_before_and_now(drifted):
    assert drifted.changes and drifted.changes[0].name == "mean radius"
    for change in drifted.changes:
        assert sum(change.before) == pytest.approx(1) and sum(change.now) == pytest.approx(1)
        assert sum(change.now[i] for i, name in enumerate(change.bins) if name.endswith("new")) > 0
    found = everything_is_in_order(bundle_page(drifted))
    assert "Drift:" in found.texts and any("1 of 30 columns have changed (mean radius)" in t for t in found.texts)
    assert "mean radius, before and now" in found.texts and "29 columns without drift" in found.texts


def test_no_drift_is_not_in_the_headline(labelled):
    stable = {**labelled.drift, "drifted": False, "reasons": ()}
    assert "Drift:" not in bundle_page(dataclasses.replace(labelled, drift=stable))


def test_the_errors_of_the_highest_scores_are_a_grid_of_features_and_rows(labelled):
    grid = labelled.errors
    assert grid.rows[: len(labelled.worst)] == tuple(row.number for row in labelled.worst)
    assert grid.left_out == 30 - len(grid.features)
    worst = dict(zip(grid.features, (shares[0] for shares in grid.shares), strict=True))
    first = labelled.worst[0].features[0]
    assert worst[first.name] == pytest.approx(first.share)
    assert f'title="row {grid.rows[0] + 1}, {first.name}: ' in bundle_page(labelled)


def test_the_layers_are_drawn_with_widths_and_dropout_is_struck_out(labelled):
    text = bundle_page(labelled)
    assert "input 30, embedding 120, output 30" in text
    assert "<s>dropout 50.0\xa0% after embedding</s>" in text
    unknown = bundle_page(dataclasses.replace(labelled, manifest=labelled.manifest._replace(provenance={})))
    assert "does not record the layers in between" in unknown and "<s>dropout" not in unknown


def test_precisions_are_compared_where_there_are_several(labelled):
    variants = labelled.manifest.variants
    assert list(variants) == ["fp32"] and "Precisions" not in everything_is_in_order(bundle_page(labelled)).texts
    manifest = labelled.manifest._replace(variants={**variants, "fp16": variants["fp32"]._replace(figures={})})
    found = everything_is_in_order(bundle_page(dataclasses.replace(labelled, manifest=manifest)))
    assert "Precisions" in found.texts and "AUROC drop" not in found.texts  # which neither tells


def test_what_other_thresholds_would_flag_is_never_more_than_was_asked_for(labelled):
    text = bundle_page(labelled)
    lines = re.findall(r'scope="row">([\d.]+)\xa0%</th><td[^>]*>[^<]*</td><td[^>]*data-value="(\d+)"', text)
    assert len(lines) == 6
    assert all(int(flags) <= float(share) / 100 * labelled.rows for share, flags in lines)


def test_the_histogram_counts_rows_and_of_two_kinds_shares(labelled):
    assert ">share of its kind</text>" in bundle_page(labelled)
    alone = dataclasses.replace(labelled.histogram, anomalies=None)
    text = bundle_page(dataclasses.replace(labelled, histogram=alone, anomalies=None, curves=None))
    assert ">rows</text>" in text and ">share of its kind</text>" not in text


@pytest.mark.parametrize(
    ("index", "word"),
    [(0.95, "excellent"), (0.8, "good"), (0.7, "moderate"), (0.53, "poor: other rows would give other groups")],
)
def test_the_page_says_of_stable_segments_what_the_command_says(labelled, index, word):
    found = {"adjusted_rand_index": index, "refits": 20}
    portrait = with_segments(labelled)
    manifest = portrait.manifest._replace(segments={**SEGMENTS, "stability": found})
    text = bundle_page(dataclasses.replace(portrait, manifest=manifest))
    assert f"Stability: {stability(found)}" in text and f"{index:.2f}, {word} (" in text


def test_without_data_it_says_that_the_rows_are_golden():
    found = everything_is_in_order(bundle_page(portray(BUNDLE)))
    assert "Made from the golden rows" in found.text and "Drift" not in found.texts


def test_without_javascript_the_numbers_of_the_bundles_threshold_stand_there(labelled):
    text = bundle_page(labelled)
    sweep = labelled.sweep
    assert f"{sweep.flagged[sweep.own]:,} of {labelled.rows:,}" in text
    assert text.count('class="slider" hidden=""') == 2  # nothing to move that does not move


def test_every_segment_of_the_map_looks_like_no_other(labelled):
    text = bundle_page(with_segments(labelled, 50))
    figure = text[text.index("map-segment-title") :].split("</svg>")[0]
    looks = re.findall(r'<path d="M[-\d.]+,[-\d.]+(h0|m[^"M]*).*?" class="(g\d) dots', figure)
    assert len(looks) == len(set(looks)) == 50
    assert len({colour for _, colour in looks[:10]}) == 10
    style = page_style(text)
    for scheme in style.split("prefers-color-scheme: dark"):
        assert len(dict.fromkeys(re.findall(r"--g\d: (#\w+)", scheme))) == 10


def page_style(text):
    return text[text.index("<style>") : text.index("</style>")]


def test_a_row_is_told_by_its_number_from_1_and_by_what_names_it(labelled, names):
    worst = labelled.worst[0]
    found = everything_is_in_order(bundle_page(labelled))
    assert any(text.startswith(f"Row {worst.number + 1}: score ") for text in found.texts)
    assert f"id {names[worst.number]}" in found.texts and "Rows are counted from 1" in found.text


def test_long_names_of_columns_are_shown_whole(labelled):
    name = "a_name_as_long_as_those_that_data_warehouses_make_of_three_tables"
    first, *rest = labelled.worst[0].features
    worst = dataclasses.replace(labelled.worst[0], features=(dataclasses.replace(first, name=name), *rest))
    assert f"<strong>{name}</strong>" in bundle_page(dataclasses.replace(labelled, worst=(worst,)))


def test_hostile_names_are_shown_as_text(labelled):
    manifest = labelled.manifest._replace(
        name=HOSTILE,
        features=(Feature(HOSTILE), *labelled.manifest.features[1:]),
        provenance={HOSTILE: HOSTILE, "history": "none", "training": HOSTILE},
        score={"definition": HOSTILE},
    )
    worst = tuple(
        dataclasses.replace(
            row,
            kept=(HOSTILE,),
            features=tuple(
                dataclasses.replace(one, name=HOSTILE, found=HOSTILE, expected=HOSTILE) for one in row.features
            ),
        )
        for row in labelled.worst
    )
    text = bundle_page(
        dataclasses.replace(labelled, manifest=manifest, source=HOSTILE, worst=worst, kept=(HOSTILE,))
    )
    everything_is_in_order(text)
    assert "<script>alert" not in text


def test_50_000_rows_and_all_their_pictures_take_less_than_3_mb():
    rows, labels = samples()
    noise = np.random.default_rng(0).normal(1, 0.05, (50_000, 30)).astype(np.float32)
    many = portray(BUNDLE, np.tile(rows, (500, 1)) * noise, np.tile(labels, 500))
    assert len(bundle_page(with_segments(many)).encode()) < 3_000_000


@pytest.mark.parametrize(
    ("trained_on", "told", "not_told"),
    [
        (True, "These are the rows that the model was trained on.", 'badge less">No drift'),
        (None, "This means little if the model was trained on these very rows", 'badge less">No drift'),
        (False, 'badge less">No drift', "means little"),
    ],
)
def test_no_drift_is_news_of_other_rows_than_those_of_training_alone(labelled, trained_on, told, not_told):
    stable = {**labelled.drift, "drifted": False, "reasons": ()}
    text = bundle_page(dataclasses.replace(labelled, drift=stable, trained_on=trained_on))
    assert told in text and not_told not in text
    drifted = {**stable, "drifted": True, "reasons": ("5.0% of the rows are flagged",)}
    text = bundle_page(dataclasses.replace(labelled, drift=drifted, trained_on=trained_on))
    assert ">Drift</span>" in text and "5.0\xa0% of the rows" in text and "means little" not in text


def test_missing_values_have_columns_where_there_are_any(labelled):
    assert "missing before" not in bundle_page(labelled)
    features = ({**labelled.drift["features"][0], "missing": 0.1}, *labelled.drift["features"][1:])
    missing = dataclasses.replace(labelled, drift={**labelled.drift, "features": features})
    assert ">missing</th>" in bundle_page(missing) and "missing before" not in bundle_page(missing)


def test_the_benchmark_of_the_bundle_is_shown_and_another_bundles_refused(labelled, write):
    content = document([measurement("aetool"), measurement("torch")])
    with pytest.raises(InputError, match="give a benchmark of this bundle"):
        bundle_page(labelled, read_result(write(content)))
    content["bundle"]["id"] = labelled.manifest.id
    found = everything_is_in_order(bundle_page(labelled, read_result(write(content))))
    assert "Speed" in found.texts


def test_a_bundle_without_explainer_or_history_has_a_page_too(labelled):
    manifest = labelled.manifest._replace(provenance={}, threshold={"value": 1.0})
    bare = dataclasses.replace(labelled, manifest=manifest, worst=(), best=(), embedding_map=None, drift=None)
    found = everything_is_in_order(bundle_page(bare))
    assert "no explainer" in found.text and "Training" not in found.texts
