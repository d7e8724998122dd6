"""Encoding of a text table, found from its bytes; a doubt is an error that shows a cell."""

import codecs
import re
from typing import NoReturn

from aetool.errors import InputError

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
_NAMED = {WESTERN: "Western", "cp1251": "Cyrillic", "shift_jis": "Japanese", "gb18030": "Chinese"}
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def encoding_of(content: bytes, *, whole: bool) -> str | None:
    """Return the encoding of a text; None where it is not UTF-8 and does not show which.

    Args:
        content: its first bytes.
        whole: they are all there are.
    """
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return encoding
    few = content[:4096]
    if few.count(0) >= max(2, len(few) // 4):  # ASCII in two bytes each
        return "utf-16-be" if few[::2].count(0) > few[1::2].count(0) else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return None
    return "utf-8"


def is_western(content: bytes) -> bool:
    """Return whether text that is no UTF-8 is Windows-1252 without a doubt.

    Letters with accents and signs such as the degree stand alone between others; where several stand in a row it
    is another alphabet, and where some of them are UTF-8 the file is a mixture.
    """
    if _MULTIBYTE.search(content) or _FOREIGN_RUN.search(content):
        return False
    try:
        content.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    return True


def refuse_encoding(content: bytes, source: str) -> NoReturn:
    """Raise an error that shows a cell that is not UTF-8.

    Raises:
        InputError: always.
    """
    start = 0
    try:
        content.decode()
    except UnicodeDecodeError as error:
        start = error.start
    line = content[:start].count(b"\n") + 1
    before = re.split(rb"[,;\t|\r\n]", content[max(0, start - 20) : start])[-1]
    cell = before + re.split(rb"[,;\t|\r\n]", content[start : start + 20])[0]
    also = ", while other cells are" if _MULTIBYTE.search(content) else ""
    found, foreign = [], _FOREIGN_RUN.search(cell) is not None
    for encoding, letters in sorted(_NAMED.items(), key=lambda named: foreign and named[0] == WESTERN):
        try:
            found.append(f"--encoding {encoding} ({letters}: {cell.decode(encoding)!r})")
        except UnicodeDecodeError:  # not this one, or the cell is cut within a letter
            continue
    raise InputError(
        f"{source}: line {line}: {cell!r} is not UTF-8{also}: save the file as UTF-8, or name its encoding, "
        f"as in {' or '.join(found) or f'--encoding {WESTERN}'}"
    )
