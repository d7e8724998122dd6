"""Text of a bundle (names, units, categories, ids) inside another language: one function per language.

A bundle's author may be anybody. Whoever writes a file of another language passes each text through the function
of that language, and pastes nothing. Comments and pages show what cannot be shown, such as a line's end or a mark
that turns the direction of the text, as <U+202E>; literals hold the same text again when they are read.
"""

import html as _html
import json
import re
import unicodedata

# Controls, format marks (direction, no width), lone surrogates, private and unassigned signs, ends of a line.
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Format marks that spelling needs, in Persian and Hindi; they turn no text around."""


def visible(text: str) -> str:
    """Return `text` on one line, with every character that does not show as <U+...>."""
    if text.isprintable():  # most texts
        return text
    return "".join(_spelled(sign) if _is_invisible(sign) else sign for sign in text)


def c_comment(text: str) -> str:
    """Return `text` for a block comment of C: one line of ASCII that ends no comment and holds no trigraph."""
    plain = "".join(sign if " " <= sign <= "~" and sign != "\\" else _spelled(sign) for sign in text)
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", lambda sign: f"{sign[0]} ", plain)


def c_string(text: str) -> str:
    """Return a string literal of C, quotes included, that holds `text` in UTF-8."""
    return _octal(text, r'"\?')


def protobuf_text(text: str) -> str:
    """Return a string of protobuf's text format, quotes included, that holds `text`."""
    return _octal(text, r'"\'')


def cmake(text: str) -> str:
    """Return a quoted argument of CMake that shows `text`; it expands no variable and holds no list.

    A semicolon is spelled out: quoted or not, it would part a list wherever the value is expanded again.
    """
    shown = "".join(_spelled(sign) if sign == ";" else sign for sign in visible(text))
    return '"{}"'.format(re.sub(r'[\\"$@]', lambda sign: f"\\{sign[0]}", shown))


def javascript(text: str) -> str:
    """Return a string literal of JavaScript, which is JSON too, that can stand inside a <script> element."""
    return re.sub(r"[<>&`$]", lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(text))


def python(text: str) -> str:
    """Return a string literal of Python, in double quotes, that holds `text`; letters stay as they are."""
    parts = []
    for sign in text:
        code = ord(sign)
        if sign in '"\\':
            parts.append(f"\\{sign}")
        elif _is_invisible(sign):
            parts.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
        else:
            parts.append(sign)
    return '"{}"'.format("".join(parts))


yaml = python  # a double-quoted scalar: the two languages share these escapes


def html(text: str) -> str:
    """Return `text` for an element of HTML or SVG, or for an attribute in quotes; lines stay lines."""
    return _html.escape("\n".join(map(visible, text.split("\n"))))


def markdown(text: str) -> str:
    """Return `text` for a paragraph, a heading or a table's cell of Markdown: no markup, no HTML, no template."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
    return re.sub(r"[\\`*_{}\[\]<>#|~&!$@:]", lambda sign: entities.get(sign[0], f"\\{sign[0]}"), visible(text))


def markdown_code(text: str) -> str:
    """Return `text` as code in a line or a table's cell of Markdown, backticks included.

    A bar would end the cell, a backtick the code; two braces would open a template where a site is built of it.
    """
    shown = " ".join(visible(text).replace("`", "'").split())
    shown = re.sub(r"\{(?=[{%#])", "{ ", shown).replace("|", "\\|")
    return f"`{shown or ' '}`"


def _is_invisible(sign: str) -> bool:
    return unicodedata.category(sign) in _INVISIBLE and sign not in _JOINERS


def _spelled(sign: str) -> str:
    return f"<U+{ord(sign):04X}>"


def _octal(text: str, special: str) -> str:
    """Return three octal digits for each byte, so that no character after them is taken for a part of them."""
    parts = []
    for byte in text.encode("utf-8", "backslashreplace"):
        sign = chr(byte)
        parts.append(f"\\{sign}" if sign in special else sign if " " <= sign <= "~" else f"\\{byte:03o}")
    return '"{}"'.format("".join(parts))
