"""Files to read, and a process without rights."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def save(tmp_path):
    """Write bytes to a file of that name, and give its path."""

    def write(content: bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def powerless():
    """Without the right to read what root owns, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def powerless_request(request):
    return lambda: request.getfixturevalue("powerless")
