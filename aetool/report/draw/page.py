"""The frame of every page: one file, nothing loaded from anywhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources

from aetool.report.draw.markup import Markup, tag


def page(
    title: str, header: Markup, sections: Iterable[Markup | None], scripts: Sequence[str] = ("tables.js",)
) -> str:
    """A whole HTML document; `scripts` are files beside this one."""
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
        tag("title", title),
        tag("style", sheet),
    )
    body = tag(
        "body",
        header,
        tag("main", *sections),
        tag("footer", tag("p", "Made by aetool report.")),
        tag("script", script),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def style() -> Markup:
    """The style sheet of every page and picture."""
    return Markup(_file("style.css"))


def section(title: str, note: str | None, content: Markup) -> Markup:
    """A part of a page under a heading of its own."""
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
    """What the policy lets run: this text and no other, should one ever get past the escaping."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
