"""The page of a bundle: facts, scores, map, explained rows."""

from aetool.bench.result import BenchResult
from aetool.errors import InputError
from aetool.report.bench import tables
from aetool.report.bench.series import Lineup, ordered
from aetool.report.bench.verdicts import cards as speed_cards
from aetool.report.bench.verdicts import summary, verdicts
from aetool.report.bundle import _drift as drift
from aetool.report.bundle import _embedding_map as embedding_map
from aetool.report.bundle import _events as events
from aetool.report.bundle import _explained as explained
from aetool.report.bundle import _model as model
from aetool.report.bundle import _scores as scores
from aetool.report.bundle import _signal as signal
from aetool.report.bundle import facts
from aetool.report.bundle.facts import names_of, threshold_text
from aetool.report.bundle.records import ErrorGrid, Portrait
from aetool.report.draw.markup import Markup, escaped, joined, tag
from aetool.report.draw.page import Section, page, section
from aetool.report.draw.units import MISSING, counted, moment, percent, rows

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
    about = f"{portrait.precision} on {portrait.provider}; bundle {manifest.id[:12]}, {moment(manifest.created)}"
    trained = _training(portrait)
    sections = (
        _golden_only() if portrait.is_golden else None,
        _tiles(portrait),
        _events(portrait),
        section("Scores", _introduction(portrait), scores.figures(portrait)),
        _signal(portrait),
        section(portrait.things.capitalize(), _about_rows(portrait), _rows(portrait)),
        _map(portrait),
        section("Segments", "What is typical of each segment.", _segments(portrait))
        if manifest.segments
        else None,
        section(
            "Drift",
            f"{portrait.source}{' without its labelled anomalies' * (portrait.anomalies is not None)}, compared "
            "with the rows that the model was trained on.",
            drift.figures(portrait.drift, portrait.changes, portrait.trained_on, portrait.drift_image),
        )
        if portrait.drift is not None
        else None,
        section(
            "Precisions",
            "Measured when each was made: outputs against the original model, decisions and speed against fp32.",
            facts.precisions(manifest),
        )
        if len(manifest.variants) > 1
        else None,
        None if bench is None else _speed(bench),
        trained,
        _model(portrait, is_trained=trained is not None),
    )
    return page(manifest.name, "aetool report", manifest.name, _lead(portrait), about, sections, _SCRIPTS)


def _lead(portrait: Portrait) -> Markup:
    """Return what the page says first: drift if there is any, and how many rows are flagged."""
    flagged = portrait.sweep.flagged[portrait.sweep.own]
    share = percent(flagged / portrait.rows)
    if not portrait.has_threshold:
        result = joined(
            [
                "No threshold is set, so the model scores rows but flags none. Export it again with ",
                tag("code", "--data"),
                " or ",
                tag("code", "--threshold"),
                " to set one.",
            ]
        )
    elif portrait.is_golden:
        result = escaped(
            f"The model flags {flagged:,} of the bundle's {portrait.rows:,} golden rows ({share}) as anomalies."
        )
    else:
        result = escaped(
            f"The model flags {flagged:,} of {_whole(portrait)} ({share}) in {portrait.source} as anomalies."
        )
    if portrait.log_events is not None and portrait.has_threshold:
        found, read = portrait.log_events, rows(portrait.log_events.rows)
        series = portrait.manifest.series
        whole = _whole(portrait) if series is None else f"{_whole(portrait)} of {series.window} rows"
        result = escaped(
            f"{counted(len(found.events), 'event')} in {read} of {portrait.source}: the model flags "
            f"{flagged:,} of {whole} ({share})."
        )
    if portrait.drift is None or not portrait.drift["drifted"]:
        return result
    badge = tag("span", "Drift:", class_="badge more")
    return joined([badge, f" {drift.headline(portrait)} ", result])


def _whole(portrait: Portrait) -> str:
    return rows(portrait.rows) if portrait.manifest.series is None else counted(portrait.rows, "window")


def _hits(portrait: Portrait, hits: int) -> str:
    return (
        f"{hits:,} of {portrait.anomalies:,} anomalies{'' if portrait.manifest.series is None else ' (windows)'}"
    )


def _golden_only() -> Markup:
    return tag(
        "p",
        "Made from the golden rows, which come with the bundle to test it. Shares on this page are not those of "
        "your data. Use ",
        tag("code", "--data TABLE"),
        " for your own rows.",
        class_="warning",
    )


def _tiles(portrait: Portrait) -> Markup:
    """Return the main figures; the script changes those that depend on the threshold."""
    sweep, curves = portrait.sweep, portrait.curves
    flagged = sweep.flagged[sweep.own]
    tiles = []
    if portrait.has_threshold:
        tiles.append(_tile("flagged", percent(flagged / portrait.rows), f"{flagged:,} of {_whole(portrait)}"))
    if portrait.has_threshold and sweep.hits is not None and portrait.anomalies:
        hits = sweep.hits[sweep.own]
        recall, precision = hits / portrait.anomalies, percent(hits / flagged) if flagged else MISSING
        tiles += [
            _tile("recall", percent(recall), _hits(portrait, hits)),
            _tile("precision", precision, f"of the flagged {portrait.things} are anomalies"),
        ]
    if curves is not None:
        tiles.append(_tile("AUROC", f"{curves.auroc:.4f}", "1: all anomalies score higher; 0.5: chance"))
    figures = portrait.manifest.variants["fp32"].figures
    difference, flipped = figures.get("max_scaled_difference"), figures.get("flipped_decisions")
    if isinstance(difference, int | float) and isinstance(flipped, int):
        details = f"Largest difference from {figures.get('reference')}: {difference:.0e} of an output's range."
        words = "from the original model at export"
        tiles.append(_tile("decisions that differ", f"{flipped:,}", words, details))
    own = f"At the bundle's threshold, {threshold_text(portrait.threshold)}"
    if not portrait.has_threshold:
        own = "No threshold is set"
    return joined(
        [
            tag("p", own, class_="what tiles-at", id="tiles-at", data_own=own),
            tag("ul", *tiles, class_="cards figures"),
        ]
    )


def _tile(name: str, value: str, words: str, details: str | None = None) -> Markup:
    more = None if details is None else tag("details", tag("summary", "Details"), tag("p", details))
    key = name.lower().replace(" ", "-")
    return tag(
        "li",
        tag("p", name, class_="what"),
        tag("p", tag("strong", value, id=f"tile-{key}-0")),
        tag("p", words, id=f"tile-{key}-1"),
        more,
    )


def _introduction(portrait: Portrait) -> str:
    text = "The worse the model reconstructs a row, the higher its score. Rows above the threshold are flagged. "
    if (series := portrait.manifest.series) is not None:
        text = (
            f"A window is {series.window} rows after one another; one begins every {series.stride} rows. "
            "The worse the model reconstructs a window, the higher its score. Windows above the threshold are "
            "flagged. "
        )
        if portrait.anomalies is not None:
            text += f"{counted(portrait.anomalies, 'window')} hold a row that is labelled as an anomaly. "
    if portrait.curves is not None:
        text += "The diamond on each curve is the threshold. "
    elif portrait.anomalies is not None:
        text += "ROC and precision need labels of both kinds. "
    if portrait.without_score:
        text += f"{rows(portrait.without_score)} without a score (missing values) are always flagged. "
    return text + "Moving the threshold changes this page only; the command below it changes the bundle."


def _about_rows(portrait: Portrait) -> Markup:
    if portrait.is_image:
        text = (
            "Each row as a picture, what the model expected, and the difference: the stronger the colour, the "
            "farther apart. Rows are counted from 1, without the header."
        )
    elif portrait.worst and portrait.worst[0].channels:
        text = "The values of each window and what the model expected. Of windows that overlap, one is shown."
    else:
        text = (
            "The values of each row and what the model expected, in raw units. Features that contribute most to "
            "the score come first. Rows are counted from 1, without the header."
        )
    if portrait.kept or portrait.is_golden:
        return escaped(text)
    return joined([f"{text} Add names of rows with ", tag("code", "--keep COLUMN"), "."])


def _events(portrait: Portrait) -> Section | None:
    found = portrait.log_events
    if found is None or not portrait.has_threshold:
        return None
    return section("Events", events.about(found), events.figures(found, portrait))


def _signal(portrait: Portrait) -> Section | None:
    if not portrait.signals:
        return None
    threshold = portrait.threshold if portrait.has_threshold else None
    parts = []
    for shown in portrait.signals:
        span = f"{shown.windows:,} windows from {shown.start} to {shown.end}"
        parts += [
            tag("h3", span if shown.group is None else f"{shown.group}: {span}", class_="apart"),
            signal.figures(shown, threshold),
        ]
    text = None
    if portrait.signals[0].group is not None:
        text = "Groups with events, the highest score first."
        if portrait.signals_left_out:
            text += f" {portrait.signals_left_out:,} more are left out."
    if portrait.log_events is not None and portrait.log_events.row_threshold is not None:
        text = (
            f"{text or ''} Windows are flagged by a threshold of their own: not each is part of an event.".strip()
        )
    return section("Signal", text, joined(parts))


def _rows(portrait: Portrait) -> Markup:
    if not portrait.worst:
        return tag("p", "Not available: the bundle has no explainer, or no row has a score.")
    parts = [
        explained.key_to_marks(portrait.worst[0]),
        tag("h3", "Highest scores"),
        explained.cards(portrait.worst, portrait.kept, most=6, has_threshold=portrait.has_threshold),
    ]
    if portrait.best:
        parts += [
            tag("h3", "Lowest scores", class_="apart"),
            explained.cards(portrait.best, portrait.kept, most=3, has_threshold=portrait.has_threshold),
        ]
    if portrait.errors is not None and len(portrait.errors.rows) > 1:
        parts += [
            tag("h3", "Errors by row and feature", class_="apart"),
            tag("p", _about_errors(portrait.errors), class_="note"),
            explained.error_grid(portrait.errors),
        ]
    return joined(parts)


def _about_errors(grid: ErrorGrid) -> str:
    text = f"Share of each row's score in percent, for the {len(grid.rows)} rows with the highest scores."
    if grid.left_out:
        text += f" {grid.left_out} features that contribute less are left out."
    return text


def _map(portrait: Portrait) -> Section | None:
    shown = portrait.embedding_map
    if shown is None:
        return None
    count = f"all {shown.of:,}" if len(shown.points) == shown.of else f"{len(shown.points):,} of {shown.of:,}"
    method = (
        f"Projected by {shown.method}, after each number of the embedding was standardised and clipped to 3 "
        "standard deviations."
    )
    return section(
        "Embeddings",
        f"Each dot is a {portrait.things[:-1]} ({count} {portrait.things}). Those that are similar to the model "
        "lie close together.",
        joined(
            [
                embedding_map.figures(shown, portrait.kept, names_of(portrait.manifest.segments)),
                tag("details", tag("summary", "Method"), tag("p", method, class_="note")),
            ]
        ),
    )


def _training(portrait: Portrait) -> Section | None:
    figure = model.losses(portrait.manifest.provenance)
    if figure is None:
        return None
    note = (
        "The loss is the reconstruction error: it should fall, then level off. Dropout makes training rows harder "
        "to reconstruct than held-out rows, so their loss may be higher."
    )
    return section("Training", note, tag("div", figure, facts.training(portrait.manifest), class_="pairs"))


def _segments(portrait: Portrait) -> Markup:
    images = portrait.segment_images
    drawn = {
        segment: explained.drawn(image, f"Mean of the rows of segment {segment}")
        for segment, image in enumerate(images)
        if image is not None
    }
    return facts.segments(portrait.manifest.segments, drawn if portrait.is_image else None)


def _model(portrait: Portrait, *, is_trained: bool) -> Section:
    card = facts.card(portrait.manifest, is_trained=is_trained)
    drawn = model.layers(portrait.manifest)
    if drawn is None:
        return section("Model card", None, card)
    return section("Model card", None, tag("div", drawn, tag("div", card, class_="two"), class_="pairs"))


def _speed(bench: BenchResult) -> Section:
    lineup, judged = Lineup(bench.results), verdicts(bench)
    measured = tables.results(ordered(bench, lineup), lineup)
    machine = f"{bench.machine.cpu}, {moment(bench.created)}"
    cards = speed_cards(judged) if judged else None
    return section("Speed", f"{summary(bench, judged)} {machine}.", joined([cards, measured]))
