"""The frame of every page: one file, nothing loaded from anywhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources

from aetool.report.draw.markup import Markup, tag


def page(
    name: str,
    command: str,
    heading: str,
    lead: str,
    about: str,
    sections: Iterable[Markup | None],
    scripts: Sequence[str] = ("tables.js",),
) -> str:
    """Return a complete HTML document.

    Args:
        name: the bundle's name.
        command: the command that made the page.
        heading: the page's heading.
        lead: what it says, in a sentence or two.
        about: where and when it was made.
        sections: its parts.
        scripts: files beside this one.
    """
    sheet = style()
    script = Markup("".join(map(_file, scripts)))
    allowed = {
        "default-src": "'none'",
        "style-src": _hash(sheet),
        "script-src": _hash(script),
        "base-uri": "'none'",
    }
    policy = "; ".join(f"{what} {source}" for what, source in allowed.items())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{name}: {command}"),
        tag("style", sheet),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("p", command, class_="kicker"),
            tag("h1", heading),
            tag("p", lead, class_="lead"),
            tag("p", about, class_="about"),
        ),
        tag("main", *sections),
        tag("footer", tag("p", "Made by aetool report.")),
        tag("script", script),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def style() -> Markup:
    """Return the style sheet of every page and picture."""
    return Markup(_file("style.css"))


def section(title: str, note: str | None, content: Markup) -> Markup:
    """Return a part of a page under its own heading."""
    key = title.lower().replace(" ", "-")
    return tag(
        "section",
        tag("h2", title, id=key),
        None if note is None else tag("p", note, class_="note"),
        content,
        aria_labelledby=key,
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the hash under which the content security policy allows this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
