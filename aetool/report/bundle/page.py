"""The page of a bundle: facts, scores, map, explained rows."""

from aetool.bench.result import BenchResult
from aetool.errors import InputError
from aetool.report.bench import tables
from aetool.report.bench.series import Lineup, ordered
from aetool.report.bench.verdicts import cards as speed_cards
from aetool.report.bench.verdicts import summary, verdicts
from aetool.report.bundle import _drift as drift
from aetool.report.bundle import _embedding_map as embedding_map
from aetool.report.bundle import _explained as explained
from aetool.report.bundle import _scores as scores
from aetool.report.bundle import _training as training
from aetool.report.bundle import facts
from aetool.report.bundle.facts import names_of
from aetool.report.bundle.records import Portrait
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.page import page, section
from aetool.report.draw.units import MISSING, percent, rows

_SCRIPTS = ("tables.js", "threshold.js", "map.js")


def bundle_page(portrait: Portrait, bench: BenchResult | None = None) -> str:
    """Return a complete HTML document; without JavaScript it is static but complete.

    Raises:
        InputError: the benchmark is of another bundle.
    """
    manifest = portrait.manifest
    if bench is not None and bench.bundle.id != manifest.id:
        raise InputError(
            f"--bench: measured with bundle {bench.bundle.id[:12]}, this one is {manifest.id[:12]}; give a "
            "benchmark of this bundle"
        )
    flagged = portrait.sweep.flagged[portrait.sweep.own]
    lead = (
        f"This model has learnt what normal rows look like. It flags {flagged:,} of {rows(portrait.rows)} "
        f"({percent(flagged / portrait.rows)}) of {portrait.source} as unusual."
    )
    about = f"{portrait.precision} on {portrait.provider}; bundle {manifest.id[:12]}, {manifest.created}"
    trained = _training(portrait)
    sections = (
        _golden_only() if portrait.is_golden else None,
        _cards(portrait),
        section("Scores", _introduction(portrait), scores.figures(portrait)),
        section(
            "Rows",
            "What the model found and what it expected, in raw units; the features that contribute most come "
            "first, as many as tell most of the score. Rows are counted from 1, the line of names left out."
            + ("" if portrait.kept or portrait.is_golden else " With --keep COLUMN they have their names too."),
            _rows(portrait),
        ),
        _map(portrait),
        section("Segments", "What makes each different from everybody.", facts.segments(manifest.segments))
        if manifest.segments
        else None,
        section(
            "Drift",
            f"Whether {portrait.source}{', labelled anomalies left out,' * (portrait.anomalies is not None)} "
            "is still like the rows that the model was made for.",
            drift.figures(portrait.drift, portrait.trained_on),
        )
        if portrait.drift is not None
        else None,
        section(
            "Precisions",
            "Measured when each was made: outputs against the reference, decisions and speed against fp32's.",
            facts.precisions(manifest),
        )
        if len(manifest.variants) > 1
        else None,
        None if bench is None else _speed(bench),
        trained,
        section("Model card", None, facts.card(manifest, is_trained=trained is not None)),
    )
    return page(manifest.name, "aetool report", manifest.name, lead, about, sections, _SCRIPTS)


def _golden_only() -> Markup:
    return tag(
        "p",
        "Made of the golden rows that come with the bundle. They were chosen to test it, so no share on "
        "this page is that of your data. With --data TABLE the page is made of your own.",
        class_="warning",
    )


def _cards(portrait: Portrait) -> Markup:
    sweep, found = portrait.sweep, portrait.curves
    flagged = sweep.flagged[sweep.own]
    told: list[tuple[str, ...]] = [
        ("flagged", percent(flagged / portrait.rows), f"{flagged:,} of {rows(portrait.rows)}")
    ]
    if sweep.hits is not None and portrait.anomalies:
        hits = sweep.hits[sweep.own]
        told.append(
            ("recall", percent(hits / portrait.anomalies), f"{hits:,} of {portrait.anomalies:,} anomalies")
        )
        told.append(
            ("precision", percent(hits / flagged) if flagged else MISSING, "of the flagged rows are anomalies")
        )
    if found is not None:
        told.append(("AUROC", f"{found.auroc:.4f}", "1: anomalies all score higher than normal rows; 0.5: chance"))
    figures = portrait.manifest.variants["fp32"].figures
    difference, flipped = figures.get("max_scaled_difference"), figures.get("flipped_decisions")
    if isinstance(difference, int | float) and isinstance(flipped, int):
        exactly = f"Outputs differ by {difference:.0e} of their scale at most, from {figures.get('reference')}."
        told.append(
            ("decisions that differ", f"{flipped:,}", "from the original model's, checked at export", exactly)
        )
    return tag("ul", *(_card(*one) for one in told), class_="cards figures")


def _card(name: str, value: str, words: str, details: str | None = None) -> Markup:
    more = None if details is None else tag("details", tag("summary", "How exactly"), tag("p", details))
    return tag("li", tag("p", name, class_="what"), tag("p", tag("strong", value)), tag("p", words), more)


def _introduction(portrait: Portrait) -> str:
    text = "The worse the model reconstructs a row, the higher its score; rows above the threshold are flagged. "
    if portrait.curves is not None:
        text += "The diamond on the curves is the threshold. "
    elif portrait.anomalies is not None:
        text += "Curves need labels of both kinds. "
    if portrait.without_score:
        text += f"{rows(portrait.without_score)} have no number as score and are flagged at every threshold. "
    return text + "Moving it changes this page, not the bundle: for that, export again with --threshold."


def _rows(portrait: Portrait) -> Markup:
    if not portrait.worst:
        return tag("p", "The bundle has no explainer, or no row a score: export it again to see why rows are odd.")
    parts = [
        explained.key_to_marks(),
        tag("h3", "The most abnormal"),
        explained.cards(portrait.worst, portrait.kept, most=6),
    ]
    if portrait.best:
        parts += [
            tag("h3", "The most normal", class_="apart"),
            explained.cards(portrait.best, portrait.kept, most=3),
        ]
    return joined(parts)


def _map(portrait: Portrait) -> Markup | None:
    found = portrait.embedding_map
    if found is None:
        return None
    drawn = f"all {found.of:,}" if len(found.points) == found.of else f"{len(found.points):,} of {found.of:,}"
    how = (
        f"By {found.method}. Each number of an embedding is standardised and held within 3 standard deviations "
        "before."
    )
    return section(
        "Embeddings",
        f"Each dot is a row, {drawn} of them; rows that are alike to the model lie close together.",
        joined(
            [
                embedding_map.figures(found, portrait.kept, names_of(portrait.manifest.segments)),
                tag("details", tag("summary", "How it is drawn"), tag("p", how, class_="note")),
            ]
        ),
    )


def _training(portrait: Portrait) -> Markup | None:
    figure = training.figure(portrait.manifest.provenance)
    if figure is None:
        return None
    note = (
        "The loss tells how badly rows are said again: it should fall, then level off. With dropout, training "
        "rows are harder than held-out ones: their loss may lie above."
    )
    return section("Training", note, tag("div", figure, facts.training(portrait.manifest), class_="pairs"))


def _speed(bench: BenchResult) -> Markup:
    lineup, told = Lineup(bench.results), verdicts(bench)
    measured = tables.results(ordered(bench, lineup), lineup)
    machine = f"{bench.machine.cpu}, {bench.created}"
    return section(
        "Speed", f"{summary(bench, told)} {machine}.", joined([speed_cards(told) if told else None, measured])
    )
