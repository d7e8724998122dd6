"""What all tests of exports share."""

import pytest

from aetool.checks.first_run import Ended


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Adopt without a child process, which costs half a second a file; with one where a test is marked `apart`."""
    if request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr("aetool.checks.first_run.run_apart", lambda *_, **__: Ended(None, 0, "", ""))
