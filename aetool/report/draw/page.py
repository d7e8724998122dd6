"""The frame of every page: one file, nothing loaded from anywhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple

from aetool.report.draw.markup import Markup, tag


class Section(NamedTuple):
    """A part of a page under its own heading."""

    key: str
    """Id of the heading."""
    title: str
    content: Markup


def page(
    name: str,
    command: str,
    heading: str,
    lead: str,
    about: str,
    sections: Iterable[Section | Markup | None],
    scripts: Sequence[str] = ("tables.js",),
) -> str:
    """Return a complete HTML document.

    Args:
        name: the bundle's name.
        command: the command that made the page.
        heading: the page's heading.
        lead: what it says, in a sentence or two.
        about: where and when it was made.
        sections: its parts; those with a heading are linked at the top.
        scripts: files beside this one.
    """
    sheet = style()
    script = Markup("".join(map(_file, scripts)))
    allowed = {
        "default-src": "'none'",
        "style-src": _hash(sheet),
        "script-src": _hash(script),
        "img-src": "data:",
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
    parts = [part for part in sections if part is not None]
    body = tag(
        "body",
        tag(
            "header",
            tag("p", command, class_="kicker"),
            tag("h1", heading),
            tag("p", lead, class_="lead"),
            tag("p", about, class_="about"),
        ),
        _links([part for part in parts if isinstance(part, Section)]),
        tag("main", *(part.content if isinstance(part, Section) else part for part in parts)),
        tag("footer", tag("p", "Made by aetool report.")),
        tag("script", script),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def style() -> Markup:
    """Return the style sheet of every page and picture."""
    return Markup(_file("style.css"))


def section(title: str, note: str | None, content: Markup) -> Section:
    """Return a part of a page under its own heading."""
    key = title.lower().replace(" ", "-")
    heading = tag("h2", title, id=key)
    about = None if note is None else tag("p", note, class_="note")
    return Section(key, title, tag("section", heading, about, content, aria_labelledby=key))


def _links(sections: Sequence[Section]) -> Markup:
    items = (tag("li", tag("a", part.title, href=f"#{part.key}")) for part in sections)
    return tag("nav", tag("ul", *items), aria_label="Sections")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the hash under which the content security policy allows this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
