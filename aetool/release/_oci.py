"""A store in an OCI registry: each version an artifact as ModelPack has it, each channel one of its own.

    oci://host/name:58a0dfcdf18e-92815c184cf8   a version: every file a layer, with its path as annotation
    oci://host/name:channel-stable              the signed file of a channel, its only layer

The media types and annotations of a version are those of the CNCF's model-spec, so that other tools can inspect
and mirror it. The registry need not be trusted: the channel's signature covers the manifest of the bundle,
and that covers every file.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from aetool.bundle.card import CARD
from aetool.bundle.files import sha256
from aetool.bundle.manifest import MANIFEST
from aetool.bundle.schema import loads
from aetool.errors import InputError, reason_of
from aetool.release._http import Answer, Download, Headers, origin, send, whole

PLAIN = "oci+http"
"""Scheme of a registry without encryption; `oci` takes it on this machine alone."""
USER, PASSWORD = "AETOOL_REGISTRY_USER", "AETOOL_REGISTRY_PASSWORD"
"""Environment variables."""
_HERE = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_VERSION_TAG = re.compile(r"[0-9a-f]{12}-[0-9a-f]{12}")
_CHANNEL_TAG = "channel-"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MOST_BYTES, _MOST_PAGES, _HELPER_S = 8 << 20, 1000, 30.0

IMAGE = "application/vnd.oci.image.manifest.v1+json"
MODEL = "application/vnd.cncf.model.manifest.v1+json"
CHANNEL = "application/vnd.aetool.channel.v1+json"
_MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_PATH, _TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"

Layer = dict[str, Any]
"""Descriptor of a blob."""


class OciStore:
    """A repository of a registry."""

    def __init__(self, uri: str) -> None:
        """Take the URI; nothing is asked yet.

        Raises:
            InputError: not one of a repository.
        """
        parts = urlsplit(uri)
        name = parts.path.strip("/")
        if not parts.hostname or "@" in parts.netloc or parts.query or not _NAME.fullmatch(name):
            raise InputError(
                f"{uri!r:.200}: expected oci://HOST[:PORT]/NAME, NAME in small letters, without a tag, user or "
                f"password; a registry takes these from {USER} and {PASSWORD}, or docker login"
            )
        plain = parts.scheme == PLAIN or parts.hostname in _HERE
        self.where, self._host = uri.rstrip("/"), parts.netloc
        self._url = f"{'http' if plain else 'https'}://{parts.netloc}/v2/{name}/"
        self._authorization: str | None = None
        self._seen: dict[str, dict[str, Layer]] = {}
        """Layers of versions that were asked for since a channel was."""
        self._pending: dict[str, dict[str, Layer]] = {}
        """Layers of versions whose manifest has not come."""

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file; what is read of it is fetched as it is read."""
        tag, file = _tag(name)
        layers = self._layers(tag)
        if file not in layers:
            raise FileNotFoundError("not in the registry")
        blob = f"blobs/{layers[file]['digest']}"
        with closing(Download(lambda headers: self._send("GET", blob, headers), self._refuse)) as stream:
            yield cast(BinaryIO, stream)

    def write(self, name: str, content: bytes) -> None:
        """Write a file; those of a new version appear with the manifest of the bundle, which is written last."""
        tag, file = _tag(name)
        layer = {**self._uploaded(_media_type(tag, file), content), "annotations": {_PATH: file, _TITLE: file}}
        if tag.startswith(_CHANNEL_TAG):
            config = self._uploaded(_EMPTY, b"{}")
            self._publish(tag, {"artifactType": CHANNEL, "config": config, "layers": [layer]})
            return
        pending = self._pending.setdefault(tag, {})
        pending[file] = layer
        there = self._layers(tag)
        if file in there and there[file]["digest"] == layer["digest"]:  # a file that is whole is not written again
            raise OSError(f"{name} is damaged in the registry; delete {layer['digest']} there, and push again")
        if file == MANIFEST or MANIFEST in there:
            self._publish(tag, self._model(tag, {**there, **pending}))
            del self._pending[tag]

    def names(self, folder: str) -> list[str]:
        """Return the names in `channels` or `versions`."""
        tags = self._tags()
        if folder == "channels":
            return [f"{tag.removeprefix(_CHANNEL_TAG)}.json" for tag in tags if tag.startswith(_CHANNEL_TAG)]
        return [tag for tag in tags if _VERSION_TAG.fullmatch(tag)]

    def locked(self) -> nullcontext[None]:
        """Do nothing: let one machine push to a channel."""
        return nullcontext()

    # Artifacts

    def _layers(self, tag: str) -> dict[str, Layer]:
        """Return the layers of an artifact, by the path of their file; none where there is no such artifact."""
        if tag.startswith(_CHANNEL_TAG):
            self._seen.clear()
        elif tag in self._seen:
            return self._seen[tag]
        answer = self._ask("GET", f"manifests/{tag}", {"Accept": IMAGE})
        if answer.status != 404:
            self._require(200, answer)
        self._seen[tag] = {} if answer.status == 404 else _layers_of(answer.body, tag)
        return self._seen[tag]

    def _publish(self, tag: str, artifact: Mapping[str, Any]) -> None:
        content = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, **artifact}).encode()
        self._require(201, self._ask("PUT", f"manifests/{tag}", {"Content-Type": IMAGE}, content))
        self._seen.pop(tag, None)

    def _model(self, version: str, layers: Mapping[str, Layer]) -> dict[str, Any]:
        """Return the artifact of a version, made of its files and of the bundle's manifest alone."""
        blob = self._ask("GET", f"blobs/{layers[MANIFEST]['digest']}")
        self._require(200, blob)
        manifest = loads(blob.body)
        name, created = str(manifest["name"]), str(manifest["created"])
        config = {
            "descriptor": {"name": name, "version": version, "createdAt": created},
            "config": {
                "architecture": "autoencoder",
                "format": "onnx",
                "precision": ", ".join(manifest["variants"]),
            },
            "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers.values()]},
        }
        return {
            "artifactType": MODEL,
            "config": self._uploaded(_MODEL_CONFIG, json.dumps(config).encode()),
            "layers": list(layers.values()),
            "annotations": {
                _TITLE: name,
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.created": created,
            },
        }

    def _uploaded(self, media_type: str, content: bytes) -> Layer:
        """Upload a blob, unless it is there, and return its descriptor."""
        digest = f"sha256:{sha256(content)}"
        if self._ask("HEAD", f"blobs/{digest}").status != 200:
            begun = self._ask("POST", "blobs/uploads/", body=b"")
            self._require(202, begun)
            parts = urlsplit(urljoin(self._url, begun.headers.get("Location", "")))
            query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)])
            ended = self._ask(
                "PUT",
                urlunsplit(parts._replace(query=query)),
                {"Content-Type": "application/octet-stream"},
                content,
            )
            self._require(201, ended)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _tags(self) -> list[str]:
        tags: set[str] = set()
        page = "tags/list?n=1000"
        for _ in range(_MOST_PAGES):
            answer = self._ask("GET", page)
            if answer.status == 404:
                break
            self._require(200, answer)
            with _as_damage("the list of tags"):
                tags.update(map(str, loads(answer.body)["tags"] or []))
            following = re.match(r'<([^>]*)>; *rel="?next', answer.headers.get("Link", ""))
            if following is None:
                break
            page = urljoin(self._url, following[1])
        return sorted(tags)

    # Requests

    def _ask(self, method: str, path: str, headers: Headers | None = None, body: bytes | None = None) -> Answer:
        return whole(self._send(method, path, headers or {}, body), _MOST_BYTES)

    def _send(self, method: str, path: str, headers: Headers, body: bytes | None = None) -> Any:
        """Send a request, with the authorization that the registry asks for."""
        url = urljoin(self._url, path)
        for again in (True, False):
            known = origin(url) == origin(self._url) and self._authorization
            secret = {"Authorization": known} if known else {}
            response = send(method, url, {**headers, **secret}, body)
            if response.status != 401 or not again or origin(url) != origin(self._url):
                break
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            self._authorize(challenge)
        return response

    def _authorize(self, challenge: str) -> None:
        """Get what the registry asks for: user and password themselves, or a token for them."""
        kind, _, rest = challenge.partition(" ")
        secret = _credentials(self._host)
        if kind.lower() != "bearer":
            self._authorization = secret
            return
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.pop("realm", "")
        if urlsplit(realm).scheme not in ("https", urlsplit(self._url).scheme):
            raise OSError(f"the registry asks for a token of {realm!r:.80}, which is not encrypted")
        parts = urlsplit(realm)
        chosen = [(key, asked[key]) for key in ("service", "scope") if key in asked]
        url = urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *chosen])))
        answer = whole(send("GET", url, {"Authorization": secret} if secret else {}), _MOST_BYTES)
        self._require(200, answer)
        with _as_damage(f"the token of {parts.netloc}"):
            found = loads(answer.body)
            token = str(found.get("token") or found["access_token"])
            if not re.fullmatch(r"[\x21-\x7e]+", token):
                raise ValueError("not a token")
        self._authorization = f"Bearer {token}"

    def _require(self, status: int, answer: Answer) -> None:
        if answer.status != status:
            self._refuse(answer.status, answer.body)

    def _refuse(self, status: int, body: bytes = b"") -> NoReturn:
        if status in (401, 403):
            raise PermissionError(
                f"the registry denies access (HTTP {status}); set {USER} and {PASSWORD}, or run docker login "
                f"{self._host}"
            )
        if status == 404:
            raise FileNotFoundError("not in the registry")
        try:
            first = loads(body)["errors"][0]
            told = f": {first['code']}: {first['message']}"
        except (ValueError, LookupError, TypeError):
            told = ""
        raise OSError(reason_of(OSError(f"the registry answers HTTP {status}{told}")))


def _tag(name: str) -> tuple[str, str]:
    """Return tag and file of a name in the store."""
    folder, _, rest = name.partition("/")
    if folder == "channels":
        return f"{_CHANNEL_TAG}{rest.removesuffix('.json')}", rest
    version, _, file = rest.partition("/")
    if not _VERSION_TAG.fullmatch(version) or not file:
        raise OSError(f"{name!r:.80}: not a name in a store")
    return version, file


def _media_type(tag: str, file: str) -> str:
    if tag.startswith(_CHANNEL_TAG):
        return CHANNEL
    if file == CARD:
        return "application/vnd.cncf.model.doc.v1.raw"
    kind = "dataset" if file.endswith(".npz") else "weight" if file.endswith(".onnx") else "weight.config"
    return f"application/vnd.cncf.model.{kind}.v1.raw"


def _layers_of(content: bytes, tag: str) -> dict[str, Layer]:
    """Read an artifact: its layers by the path of their file.

    Raises:
        OSError: damaged, or another kind of artifact.
    """
    layers: dict[str, Layer] = {}
    with _as_damage(f"the artifact {tag}"):
        for layer in loads(content)["layers"]:
            path = layer["annotations"].get(_PATH) or layer["annotations"][_TITLE]
            if path in layers or not _DIGEST.fullmatch(layer["digest"]):
                raise ValueError("a path stands twice, or a digest is none of SHA-256")
            layers[path] = layer
    return layers


@contextmanager
def _as_damage(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise OSError(f"{what} is not what a registry holds of aetool ({reason_of(error, 100)})") from error


def _credentials(host: str) -> str | None:
    """Return the Authorization of the environment's user, or of Docker's file or helper; None where there is none.

    Raises:
        OSError: Docker's file is damaged, or its helper fails.
    """
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user is not None and password is not None:
        return _basic(user, password)
    path = Path(os.environ.get("DOCKER_CONFIG", "~/.docker"), "config.json")
    try:
        found = loads(path.expanduser().read_bytes())
        secret = found.get("auths", {}).get(host, {}).get("auth")
        helper = found.get("credHelpers", {}).get(host) or found.get("credsStore")
    except (FileNotFoundError, PermissionError, RuntimeError):  # none for this user, who may have no home
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise OSError(f"{path}: cannot be read: {reason_of(error)}; set {USER} and {PASSWORD}") from error
    if isinstance(helper, str) and not secret:
        return _helped(helper, host)
    if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable():
        return None
    return f"Basic {secret}"


def _helped(helper: str, host: str) -> str | None:
    """Return the Authorization that a credential helper of Docker knows; None where it knows none.

    Raises:
        OSError: it is not there, it fails, or knows a token instead of a password.
    """
    name = f"docker-credential-{helper}"
    remedy = f"set {USER} and {PASSWORD}"
    try:
        done = subprocess.run(
            [name, "get"], input=host, capture_output=True, text=True, timeout=_HELPER_S, check=False
        )
        if done.returncode:
            said = (done.stdout or done.stderr).strip()[:200]
            if "credentials not found" in said:
                return None
            raise OSError(f"{name}: ended with code {done.returncode}: {said}; {remedy}")
        found = loads(done.stdout.encode())
        user, password = found["Username"], found["Secret"]
    except (ValueError, LookupError, TypeError) as error:
        raise OSError(f"{name}: gives no user and password; {remedy}") from error
    except (subprocess.SubprocessError, FileNotFoundError, PermissionError) as error:
        raise OSError(f"{name}, of Docker's config.json: {reason_of(error, 200)}; {remedy}") from error
    if user == "<token>":
        raise OSError(f"{name}: knows a token for {host}, a password is needed; {remedy}")
    return _basic(user, password)


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
