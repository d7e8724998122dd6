"""What all tests of exports share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Adopt without a child process, which costs half a second a file; with one where a test is marked `apart`."""
    adopting = sys.modules.get("aetool.export.adopt")
    if adopting is not None and request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr(adopting, "crash_of", lambda *_: None)
