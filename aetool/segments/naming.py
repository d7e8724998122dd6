"""`name_segments`: what people call the segments of a bundle, kept in its manifest."""

from collections.abc import Mapping
from pathlib import Path

from aetool.bundle import Bundle
from aetool.errors import BundleError, InputError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.publish import publish

MOST_LETTERS = 100


def name_segments(path: str | Path, names: Mapping[int, str], *, limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """Give segments names, and publish the bundle anew; nothing else in it changes.

    Args:
        path: a bundle with segments.
        names: segment -> name, one line; an empty one takes it away. Segments that are not named here keep theirs.

    Raises:
        InputError: the bundle has no segments, or no such one, or a name is no line of text.
        BundleError: the bundle is damaged, or its segments were changed by hand.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    segments = bundle.manifest.segments
    if not segments:
        raise InputError(f"{path}: has no segments to name; make some: aetool segment {path} --data TABLE")
    named = []
    try:
        for entry in segments["segments"]:
            name = names.get(entry["segment"], entry.get("name", ""))
            rest = {key: value for key, value in entry.items() if key != "name"}
            named.append({"segment": entry["segment"], **({"name": _checked(name)} if name else {}), **rest})
    except (AttributeError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: the segments in its manifest were changed by hand ({type(error).__name__}: {error}); make "
            f"them again: aetool segment {path} --data TABLE --overwrite"
        ) from error
    if other := sorted(set(names) - {entry["segment"] for entry in named}):
        raise InputError(f"segment {other[0]}: {path} has segments 0 to {len(named) - 1}; name one of them")
    manifest = bundle.manifest._replace(segments={**segments, "segments": named})
    return publish(path, manifest, {name: bundle.read(name) for name in manifest.files}, overwrite=True)


def _checked(name: str) -> str:
    if not name.isprintable() or len(name) > MOST_LETTERS:
        raise InputError(
            f"name {name[:40]!r}: one line of at most {MOST_LETTERS} letters expected, found {len(name)}; "
            "shorten it"
        )
    return name
