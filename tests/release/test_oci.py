"""An OCI registry as a store: a real one, and one behind a proxy that misbehaves."""

import json
import re
import shutil
import urllib.request

import pytest
from registries import BASIC, PASSWORD, USER, Proxy, Registry, Tokens, with_passwords

from aetool import InputError, ReleaseError
from aetool.bundle.bundle import Bundle
from aetool.bundle.keys import write_keys
from aetool.release import _oci as oci
from aetool.release import open_store, push


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def named(request):
    """A repository of its own for each test."""
    return f"models/{request.node.name.split('[')[0].replace('_', '-')[:60].strip('-')}"


@pytest.fixture
def remote(site, registry, named):
    """The site, whose store is a registry."""
    site.store = f"oci://{registry.host}/{named}"
    return site


@pytest.fixture
def proxied(site, registry, named):
    """The site, and the proxy between the device and the registry."""
    with Proxy(registry) as proxy:
        site.store = f"oci://{proxy.host}/{named}"
        yield site, proxy


def asked(registry, path, *, data=None, kind=None, method=None):
    request = urllib.request.Request(f"http://{registry.host}/v2/{path}", data, method=method)
    request.add_header("Content-Type" if data else "Accept", kind or oci.IMAGE)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def test_a_device_takes_releases_from_a_registry_byte_for_byte(remote):
    remote.release_twice()
    source, found = Bundle.open(remote.made / "b"), Bundle.open_whole(remote.current, public_key=remote.public)
    assert {name: found.read(name) for name in found.manifest.files} == {
        name: source.read(name) for name in source.manifest.files
    }


def test_a_version_is_an_artifact_as_modelpack_has_it(remote, registry, named):
    version = remote.push("a")
    artifact = json.loads(asked(registry, f"{named}/manifests/{version}"))
    assert artifact["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert artifact["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    kinds = {each["annotations"]["org.cncf.model.filepath"]: each["mediaType"] for each in artifact["layers"]}
    assert kinds["detector.onnx"] == "application/vnd.cncf.model.weight.v1.raw"
    assert kinds["README.md"] == "application/vnd.cncf.model.doc.v1.raw"
    files = Bundle.open(remote.made / "a").manifest.files
    assert set(kinds) == {*files, "manifest.json", "signature.json"}
    for layer in artifact["layers"]:
        name = layer["annotations"]["org.opencontainers.image.title"]
        assert name not in files or layer["digest"] == f"sha256:{files[name].sha256}"
    config = json.loads(asked(registry, f"{named}/blobs/{artifact['config']['digest']}"))
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [each["digest"] for each in artifact["layers"]]}
    assert (config["descriptor"]["version"], config["config"]["format"]) == (version, "onnx")


def test_a_signature_of_another_key_replaces_that_of_a_version_that_is_there(remote, tmp_path):
    version = remote.push("a")
    other = tmp_path / "other.pem"
    public = write_keys(other)
    assert push(remote.made / "a", remote.store, private_key=other).written == 1
    assert remote.poll(public_key=public).version == version


# Releases that are not right


def replace_layer(registry, named, version, file, content):
    """Let the artifact of a version name other bytes, as whoever owns the registry could."""
    artifact = json.loads(asked(registry, f"{named}/manifests/{version}"))
    other = open_store(f"oci://{registry.host}/{named}")._uploaded("application/octet-stream", content)
    for layer in artifact["layers"]:
        if layer["annotations"][oci._PATH] == file:
            layer.update(digest=other["digest"], size=other["size"])
    put(registry, named, version, artifact)


def put(registry, named, tag, artifact):
    asked(registry, f"{named}/manifests/{tag}", data=json.dumps(artifact).encode(), kind=oci.IMAGE, method="PUT")


def tampered(registry, named, site, version):
    content = bytearray((site.made / "b" / "detector.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    replace_layer(registry, named, version, "detector.onnx", bytes(content))


def truncated(registry, named, site, version):
    content = (site.made / "b" / "detector.onnx").read_bytes()[:-100]
    replace_layer(registry, named, version, "detector.onnx", content)


def longer(registry, named, site, version):
    content = (site.made / "b" / "detector.onnx").read_bytes() + b"more"
    replace_layer(registry, named, version, "detector.onnx", content)


def of_another_bundle(registry, named, site, version):
    content = (site.made / "a" / "manifest.json").read_bytes()
    replace_layer(registry, named, version, "manifest.json", content)


def unsigned(registry, named, site, version):
    push(site.made / "b", site.store)


def of_a_stranger(registry, named, site, version):
    write_keys(site.device.with_name("stranger.pem"))
    push(site.made / "b", site.store, private_key=site.device.with_name("stranger.pem"))


def without_a_file(registry, named, site, version):
    artifact = json.loads(asked(registry, f"{named}/manifests/{version}"))
    artifact["layers"] = [each for each in artifact["layers"] if each["annotations"][oci._PATH] != "golden.npz"]
    put(registry, named, version, artifact)


def an_image(registry, named, site, version):
    artifact = json.loads(asked(registry, f"{named}/manifests/{version}"))
    for layer in artifact["layers"]:
        del layer["annotations"]
    put(registry, named, version, artifact)


REFUSED = {
    tampered: "detector.onnx: sha256 .* expected, found another",
    truncated: "detector.onnx: .* bytes expected, found .*; it is truncated",
    longer: "detector.onnx: .* longer than",
    of_another_bundle: "manifest.json: sha256 .* expected, found",
    unsigned: "stable.json: is not signed, and a signature is required",
    of_a_stranger: "stable.json: made with the key",
    without_a_file: "golden.npz: cannot be read: not in the registry",
    an_image: "manifest.json: cannot be read: the artifact .* is not what a registry holds of aetool",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_a_release_that_is_not_right_is_refused_and_the_current_one_goes_on(remote, registry, damage):
    named = remote.store = f"{remote.store}/{damage.__name__.replace('_', '-')}"
    named = named.partition(f"{registry.host}/")[2]
    first = remote.push("a")
    remote.poll()
    damage(registry, named, remote, remote.push("b"))
    outcome = remote.poll()
    assert (outcome.event, outcome.version) == ("failed", first)
    with pytest.raises(ReleaseError, match=REFUSED[damage]):
        raise ReleaseError(outcome.message)
    assert remote.whole()


def test_an_old_channel_put_back_is_refused(remote, registry, named):
    remote.push("a")
    old = json.loads(asked(registry, f"{named}/manifests/channel-stable"))
    remote.push("b")
    remote.poll()
    put(registry, named, "channel-stable", old)
    assert "is an older file (sequence 1, 2 was seen before)" in remote.poll().message


def test_a_release_larger_than_allowed_is_refused_before_it_is_fetched(proxied):
    site, proxy = proxied
    site.push("a")
    proxy.asked.clear()
    assert "more than the 100,000 allowed" in site.poll(most_bytes=100_000).message
    assert len(proxy.fetched()) == 2  # the channel's file and the manifest


# A registry that misbehaves


def test_a_file_that_the_registry_has_damaged_is_named_since_it_cannot_be_written_again(proxied):
    site, proxy = proxied
    site.push("a")
    digest = Bundle.open(site.made / "a").manifest.files["detector.onnx"].sha256
    proxy.instead[digest] = (200, b"not it", {})
    with pytest.raises(ReleaseError, match=f"detector.onnx is damaged in the registry; delete sha256:{digest}"):
        site.push("a")


def test_a_download_that_was_cut_goes_on_where_it_stopped(proxied):
    site, proxy = proxied
    version = site.push("a")
    proxy.asked.clear()
    proxy.cut = 20_000
    while (outcome := site.poll()).event == "failed":
        assert "the connection ended before the file" in outcome.message
    assert outcome.version == version and site.whole()
    records = Bundle.open(site.current).manifest.files.values()
    fetched = proxy.fetched()
    for record in records:
        parts = [at for digest, at in fetched if digest == record.sha256]
        assert parts == [None, *(f"bytes={at}-" for at in range(20_000, record.size, 20_000))]


def test_the_password_is_not_sent_to_where_a_blob_is_redirected(site, tmp_path, named, monkeypatch):
    monkeypatch.setenv(oci.USER, USER)
    monkeypatch.setenv(oci.PASSWORD, PASSWORD)
    with with_passwords(tmp_path) as registry, Proxy(registry) as store, Proxy(registry) as proxy:
        site.store = f"oci://{proxy.host}/{named}"
        site.push("a")
        store.instead["/blobs/"] = (200, b"not it", {})
        proxy.elsewhere = store.host
        assert site.poll().event == "failed"
        assert any(headers.get("Authorization") == BASIC for _, _, headers in proxy.asked)
        assert store.asked and not any("Authorization" in headers for _, _, headers in store.asked)


OUTSIDE = {"layers": [{"digest": "sha256:../../x", "annotations": {oci._PATH: "stable.json"}}]}
ODD = {
    "redirects in a circle": ("/manifests/", (302, b"", {"Location": "/v2/circle/manifests/again"}), "HTTP 302"),
    "a redirect to a file": ("/manifests/", (302, b"", {"Location": "file:///etc/passwd"}), "HTTP 302"),
    "an endless manifest": ("/manifests/", (200, b" " * (9 << 20), {}), "more than 8,388,608 bytes"),
    "nonsense": ("/manifests/", (200, b"[" * 1000, {}), "is not what a registry holds of aetool"),
    "a digest that leads elsewhere": (
        "/manifests/",
        (200, json.dumps(OUTSIDE).encode(), {}),
        "a digest is none of SHA-256",
    ),
    "a token asked for again and again": (
        "/v2/",
        (401, b"", {"WWW_Authenticate": 'Bearer realm="http://HOST/v2/token"'}),
        "the registry denies access .HTTP 401.*AETOOL_REGISTRY_USER",
    ),
    "an error of its own": (
        "/v2/",
        (500, b'{"errors": [{"code": "UNKNOWN", "message": "disk full"}]}', {}),
        "HTTP 500: UNKNOWN: disk full",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_an_odd_registry_ends_in_a_message(site, what):
    pattern, (status, body, headers), message = ODD[what]
    with Proxy(None) as proxy:
        headers = {name: value.replace("HOST", proxy.host) for name, value in headers.items()}
        proxy.instead[pattern] = (status, body, headers)
        site.store = f"oci://{proxy.host}/models"
        outcome = site.poll()
        assert outcome.event == "failed" and outcome.message.isprintable() and len(proxy.asked) < 20
        with pytest.raises(ReleaseError, match=message):
            raise ReleaseError(outcome.message)
    assert "Connection refused; check the store and the connection" in site.poll().message


def test_the_list_of_tags_comes_in_pages_and_an_endless_one_ends(monkeypatch):
    monkeypatch.setattr(oci, "_MOST_PAGES", 5)
    with Proxy(None) as proxy:
        proxy.instead["last=1"] = (200, b'{"tags": ["channel-canary", "latest"]}', {})
        proxy.instead["n=1000"] = (
            200,
            b'{"tags": ["channel-stable"]}',
            {"Link": '</v2/m/tags/list?last=1>; rel="next"'},
        )
        store = open_store(f"oci://{proxy.host}/m")
        assert store.names("channels") == ["canary.json", "stable.json"] and store.names("versions") == []
        proxy.instead["last=1"] = (200, b'{"tags": null}', {"Link": '</v2/m/tags/list?last=1>; rel="next"'})
        proxy.asked.clear()
        assert store.names("channels") == ["stable.json"] and len(proxy.asked) == 5


# Who may


@pytest.mark.parametrize("kind", ["password", "token"])
def test_a_registry_that_asks_who_it_is_gets_user_and_password(site, tmp_path, named, monkeypatch, kind):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with (
        Tokens(tmp_path) as tokens,
        with_passwords(tmp_path) if kind == "password" else tokens.registry() as registry,
    ):
        site.store = f"oci://{registry.host}/{named}"
        with pytest.raises(ReleaseError, match=r"denies access \(HTTP 401\); set AETOOL_REGISTRY_USER"):
            site.push("a")
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": BASIC.split()[1]}}}))
        site.push("a")
        shutil.rmtree(tmp_path / "device", ignore_errors=True)
        (tmp_path / "config.json").unlink()
        monkeypatch.setenv(oci.USER, USER)
        monkeypatch.setenv(oci.PASSWORD, PASSWORD)
        assert site.poll().event == "switched"
        monkeypatch.setenv(oci.PASSWORD, "wrong")
        assert "denies access" in site.poll().message
    # The registry names what it wants in any order: pull,push or push,pull.
    asked = [each["scope"].rpartition(":") for each in tokens.asked]
    scopes = {(name, *sorted(actions.split(","))) for name, _, actions in asked}
    repository = f"repository:{named}"
    assert scopes == (set() if kind == "password" else {(repository, "pull"), (repository, "pull", "push")})


HELPER = """#!/bin/sh
read host
test "$1 $host" = "get $KNOWN" || {{ echo credentials not found in native keychain; exit 1; }}
{answer}
"""
KNOWS = f"""echo '{{"Username": "{USER}", "Secret": "{PASSWORD}"}}'"""


@pytest.mark.parametrize(
    ("docker", "answer", "outcome"),
    [
        ({"credHelpers": {"HOST": "here"}}, KNOWS, "switched"),
        ({"credsStore": "here"}, KNOWS, "switched"),
        ({"credHelpers": {"elsewhere": "here"}}, KNOWS, "denies access"),
        ({"credsStore": "here"}, "echo '{}'", "-here: gives no user and password; set"),
        ({"credsStore": "here"}, "echo locked >&2; exit 3", "-here: ended with code 3: locked; set"),
        ({"credsStore": "here"}, KNOWS.replace(USER, "<token>"), "a password is needed; set"),
        ({"credsStore": "gone"}, "", "-gone, of Docker's config.json: .*; set AETOOL_REGISTRY_USER"),
    ],
)
def test_a_credential_helper_of_docker_is_asked(site, tmp_path, named, monkeypatch, docker, answer, outcome):
    with with_passwords(tmp_path) as registry:
        site.store = f"oci://{registry.host}/{named}"
        with pytest.MonkeyPatch.context() as user:
            user.setenv(oci.USER, USER)
            user.setenv(oci.PASSWORD, PASSWORD)
            site.push("a")
        helper = tmp_path / "docker-credential-here"
        helper.write_text(HELPER.format(answer=answer))
        helper.chmod(0o755)
        (tmp_path / "config.json").write_text(json.dumps(docker).replace("HOST", registry.host))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        monkeypatch.setenv("KNOWN", registry.host)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        found = site.poll()
    assert re.search(outcome, f"{found.event} {found.message}")


def test_a_damaged_file_of_docker_is_named(site, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with Proxy(None) as proxy:
        proxy.instead["/v2/"] = (401, b"", {"WWW_Authenticate": "Basic"})
        site.store = f"oci://{proxy.host}/models"
        assert f"{tmp_path}/config.json: cannot be read: " in site.poll().message


@pytest.mark.parametrize(
    "uri",
    ["oci://", "oci:///models", "oci://host", "oci://host/Models", "oci://host/models:v1", "oci://me:secret@host/models",
     "oci://host/a/../b", "oci://host/a?b=c"],
)  # fmt: skip
def test_a_uri_of_no_repository_is_an_input_error(uri):
    with pytest.raises(InputError, match="expected oci://HOST"):
        open_store(uri)


def test_a_registry_elsewhere_is_asked_by_https_unless_the_uri_says_otherwise():
    urls = [open_store(uri)._url for uri in ("oci://host/m", "oci+http://host:5000/m", "oci://localhost:5000/m")]
    assert urls == ["https://host/v2/m/", "http://host:5000/v2/m/", "http://localhost:5000/v2/m/"]
