"""A store in a model repository of the Hugging Face Hub: hf://owner/name.

The files lie as in a directory. A release is one commit: the version's files, the channel's file, and the card of
the repository, which is made of the bundle's; what its owner added to the card's metadata, such as a licence, is
kept.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, NoReturn, cast
from urllib.parse import quote

from aetool.bundle.card import CARD
from aetool.bundle.manifest import MANIFEST
from aetool.bundle.schema import loads
from aetool.errors import DependencyError, InputError, reason_of
from aetool.release._http import Download, send
from aetool.version import __version__

try:
    from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, ModelCardData
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers, validate_repo_id
except ImportError as error:
    raise DependencyError("huggingface_hub", "hub", "a store on the Hugging Face Hub") from error

_MOST_BYTES = 8 << 20
SHOWN = "stable"
"""Channel whose version the card of the repository shows."""


class HubStore:
    """A model repository; it exists already, so that its owner decides who sees it."""

    def __init__(self, uri: str) -> None:
        """Take the URI; nothing is asked yet.

        Raises:
            InputError: not one of a repository.
        """
        self.where, self._repository = uri.rstrip("/"), uri.partition("://")[2].strip("/")
        try:
            validate_repo_id(self._repository)
        except HFValidationError as error:
            raise InputError(f"{uri!r:.200}: expected hf://OWNER/NAME, a model repository") from error
        if self._repository.count("/") != 1:
            raise InputError(f"{uri!r:.200}: expected hf://OWNER/NAME, a model repository")
        self._api = HfApi(library_name="aetool", library_version=__version__)
        self._pending: dict[str, bytes] = {}
        """Files of versions, which come with the channel's file."""
        self._parent: str | None = None

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file; what is read of it is fetched as it is read."""
        url = f"{self._api.endpoint}/{self._repository}/resolve/main/{quote(name)}"
        headers = build_hf_headers(library_name="aetool", library_version=__version__)
        with closing(Download(lambda more: send("GET", url, {**headers, **more}), self._refuse)) as stream:
            yield cast(BinaryIO, stream)

    def write(self, name: str, content: bytes) -> None:
        """Write a file; those of a version, and the card, are committed with the channel's."""
        self._pending[name] = content
        folder, _, channel = name.partition("/")
        if folder != "channels":
            return
        with self._as_os_error():
            card = self._card(loads(loads(content)["payload"])["version"], channel == f"{SHOWN}.json")
            files = {**self._pending, **({} if card is None else {CARD: card})}
            done = self._api.create_commit(
                self._repository,
                [CommitOperationAdd(path, text) for path, text in files.items()],
                commit_message=f"Release to {channel.removesuffix('.json')}",
                parent_commit=self._parent,
            )
        self._parent = done.oid
        self._pending.clear()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        try:
            with self._as_os_error():
                return sorted(
                    entry.path.rpartition("/")[2] for entry in self._api.list_repo_tree(self._repository, folder)
                )
        except FileNotFoundError:
            return []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Refuse to commit if another has committed since."""
        with self._as_os_error():
            self._parent = self._api.model_info(self._repository).sha
        self._pending.clear()
        yield
        self._parent = None

    def _card(self, version: str, is_shown: bool) -> bytes | None:
        """Return the card of the repository; None where the one that is there stays."""
        before = self._text(CARD)
        if before is not None and (not is_shown or f"versions/{version}" in before):
            return None
        made = self._text(f"versions/{version}/{CARD}")
        if made is None:
            return None
        manifest = loads(self._text(f"versions/{version}/{MANIFEST}") or "{}")
        card = ModelCard(made)
        own = {} if before is None else ModelCard(before, ignore_metadata_errors=True).data.to_dict()
        card.data = ModelCardData(
            **{**own, **card.data.to_dict(), **_results(manifest)}, ignore_metadata_errors=True
        )
        card.text += _HOW.format(repository=self._repository, version=version, name=manifest.get("name"))
        return str(card).encode()

    def _text(self, name: str) -> str | None:
        """Return the content of a file that is to be committed, or is there; None where there is none."""
        try:
            if name in self._pending:
                return self._pending[name].decode()
            with self.open(name) as stream:
                return stream.read(_MOST_BYTES).decode()
        except FileNotFoundError:
            return None

    def _refuse(self, status: int) -> NoReturn:
        if status == 404:
            raise FileNotFoundError("not on the Hub")
        if status in (401, 403):
            raise PermissionError(self._denied)
        raise OSError(f"the Hub answers HTTP {status}")

    @property
    def _denied(self) -> str:
        return (
            f"there is no model repository {self._repository}, or you may not use it; create it on the Hub, then "
            "log in with hf auth login, or set HF_TOKEN"
        )

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except EntryNotFoundError as error:
            raise FileNotFoundError("not on the Hub") from error
        except RepositoryNotFoundError as error:
            raise PermissionError(self._denied) from error
        except Exception as error:
            raise OSError(reason_of(error)) from error


_HOW = """
## From the Hub

```python
import aetool
from huggingface_hub import snapshot_download

snapshot_download("{repository}", allow_patterns="versions/{version}/*", local_dir="hub")
model = aetool.load("hub/versions/{version}")
```

Devices follow this repository: `aetool agent hf://{repository} -o DIR --public-key KEY`.
"""


def _results(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was counted on labelled rows, as the card's metadata have it."""
    calibration = manifest.get("calibration", {})
    metrics = [
        {
            "type": kind,
            "name": f"{kind.replace('_', ' ')} of {counted['rows']:,} rows",
            "value": counted["count"] / counted["rows"],
        }
        for kind in ("false_alarms", "recall")
        if (counted := calibration.get(kind))
    ]
    if not metrics:
        return {}
    data = str(calibration.get("data") or "rows of its own")
    return {
        "model-index": [
            {
                "name": str(manifest["name"]),
                "results": [
                    {
                        "task": {"type": "tabular-classification", "name": "anomaly detection"},
                        "dataset": {"type": "tabular", "name": data},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    }
