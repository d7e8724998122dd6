"""What all tests of exports share."""

import pytest


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Adopt without a child process, which costs half a second a file; with one where a test is marked `apart`."""
    if request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr("aetool.first_run._in_child", lambda *_: (None, ""))
