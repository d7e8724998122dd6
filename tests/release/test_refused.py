"""Releases that are refused, each with its message; the current model goes on."""

import json
import os
import shutil

import pytest

import aetool
from aetool import ReleaseError
from aetool.bundle.keys import write_keys
from aetool.release import _channel as channels
from aetool.release import status_of


def change_graph(site, version):
    path = site.store / "versions" / version / "detector.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate_graph(site, version):
    path = site.store / "versions" / version / "detector.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def lengthen_graph(site, version):
    path = site.store / "versions" / version / "detector.onnx"
    path.write_bytes(path.read_bytes() + b"more")


def change_manifest(site, version):
    path = site.store / "versions" / version / "manifest.json"
    path.write_text(path.read_text().replace("breast-cancer", "breast-cancel", 1))


def loop_of_links(site, version):
    path = site.store / "versions" / version / "detector.onnx"
    path.unlink()
    path.symlink_to("detector.onnx")


def loop_of_folders(site, version):
    path = site.store / "versions" / version
    path.rename(path.with_name("moved"))
    path.symlink_to(".")


def pipe(site, version):
    path = site.store / "versions" / version / "detector.onnx"
    path.unlink()
    os.mkfifo(path)


def remove_graph(site, version):
    (site.store / "versions" / version / "detector.onnx").unlink()


def remove_signature(site, version):
    (site.store / "versions" / version / "signature.json").unlink()


def signature_of_another(site, version):
    other = site.push("a", channel="other", allow_downgrade=True)
    shutil.copy(site.store / "versions" / other / "signature.json", site.store / "versions" / version)


def endless_manifest(site, version):
    with (site.store / "versions" / version / "manifest.json").open("r+b") as stream:
        stream.truncate(1 << 40)


def rewrite(site, change, key=None):
    """Change the channel's file, signed again if there is a key."""
    content = json.loads(site.channel().read_text())
    found = channels.Channel(**json.loads(content["payload"]))
    site.channel().write_bytes(channels.write_channel(found._replace(**change), key))


def unsigned_channel(site, version):
    rewrite(site, {})


def changed_channel(site, version):
    content = json.loads(site.channel().read_text())
    content["payload"] = content["payload"].replace('"allow_downgrade": false', '"allow_downgrade": true')
    site.channel().write_text(json.dumps(content))


def channel_of_a_stranger(site, version):
    stranger = site.store / "stranger.pem"
    write_keys(stranger)
    rewrite(site, {}, stranger)


def channel_of_another_name(site, version):
    site.push("c", channel="canary")
    shutil.copy(site.channel("canary"), site.channel())


def expired_channel(site, version):
    rewrite(site, {"expires": "2020-01-01T00:00:00Z"}, site.private)


def channel_that_leads_out(site, version):
    rewrite(site, {"version": "../../elsewhere"}, site.private)


def channel_of_another_version(site, version):
    rewrite(site, {"made": "2029-01-01T00:00:00Z"}, site.private)


def channel_of_the_future(site, version):
    rewrite(site, {"format_version": "2"}, site.private)


def channel_with_a_bundles_signature(site, version):
    content = json.loads(site.channel().read_text())
    manifest = site.store / "versions" / version
    content["payload"] = (manifest / "manifest.json").read_text()
    content["signature"] = json.loads((manifest / "signature.json").read_text())
    site.channel().write_text(json.dumps(content))


def no_channel(site, version):
    site.channel().unlink()


def large_channel(site, version):
    site.channel().write_bytes(b" " * 100_000)


def channel_that_is_nonsense(site, version):
    site.channel().write_bytes(b"[" * 1000)


REFUSED = {
    change_graph: "detector.onnx: sha256 .* expected, found another",
    truncate_graph: "detector.onnx: .* bytes expected, found .*; it is truncated",
    lengthen_graph: "detector.onnx: .* longer than",
    change_manifest: "manifest.json: sha256 .* expected, found",
    loop_of_links: "detector.onnx: cannot be read: a symbolic link",
    loop_of_folders: "manifest.json: cannot be read: a symbolic link",
    pipe: "detector.onnx: cannot be read: not a regular file",
    remove_graph: "detector.onnx: cannot be read: No such file",
    remove_signature: "is not signed, and a signature is required",
    signature_of_another: "is not what was signed",
    endless_manifest: "manifest.json: cannot be read: more than .* bytes",
    unsigned_channel: "stable.json: is not signed, and a signature is required",
    changed_channel: "stable.json: is not what was signed",
    channel_of_a_stranger: "stable.json: made with the key",
    channel_of_another_name: "is the channel 'canary', not 'stable'",
    expired_channel: "expired 2020-01-01T00:00:00Z.*aetool release renew",
    channel_that_leads_out: "is no name of a version",
    channel_of_another_version: "is another version than",
    channel_of_the_future: "format '2' is newer than 1; upgrade aetool",
    channel_with_a_bundles_signature: "stable.json: is not what was signed",
    no_channel: "stable.json: missing; release a bundle first",
    large_channel: "stable.json: cannot be read: more than",
    channel_that_is_nonsense: "stable.json: not the file of a channel",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_a_release_that_is_not_right_is_refused_and_the_current_one_goes_on(site, damage):
    first = site.push("a")
    site.poll()
    damage(site, site.push("b"))
    outcome = site.poll()
    assert (outcome.event, outcome.version) == ("failed", first)
    assert outcome.message.isprintable() and "\n" not in outcome.message
    with pytest.raises(ReleaseError, match=REFUSED[damage]):
        raise ReleaseError(outcome.message)
    assert site.current.name == first and site.whole()
    assert status_of(site.device).state.last.message == outcome.message


def test_the_same_release_put_right_is_taken(site):
    site.push("a")
    site.poll()
    version = site.push("b")
    change_graph(site, version)
    assert site.poll().event == "failed"
    shutil.rmtree(site.store / "versions" / version)
    site.push("b")
    assert site.poll().version == version and site.whole()


def test_an_old_file_of_the_channel_that_is_put_back_is_refused(site):
    site.push("a")
    old = site.channel().read_bytes()
    site.poll()
    second = site.push("b")
    site.poll()
    site.channel().write_bytes(old)
    outcome = site.poll()
    assert outcome.event == "failed" and "is an older file (sequence 1, 2 was seen before)" in outcome.message
    assert site.current.name == second
    assert site.poll(allow_downgrade=True).event == "switched"


def test_an_older_file_is_refused_though_the_newer_release_never_arrived(site):
    site.push("a")
    old = site.channel().read_bytes()
    change_graph(site, site.push("b"))
    assert site.poll().event == "failed"
    site.channel().write_bytes(old)
    assert "is an older file" in site.poll().message


def test_an_older_bundle_is_taken_only_where_the_channel_or_the_operator_says_so(site):
    newer = site.push("b")
    site.poll()
    site.push("a", allow_downgrade=True)
    rewrite(site, {"allow_downgrade": False}, site.private)
    outcome = site.poll()
    assert outcome.event == "failed" and "to go back, push it with --allow-downgrade" in outcome.message
    assert site.current.name == newer
    rewrite(site, {"allow_downgrade": True}, site.private)
    assert site.poll().event == "switched"


def test_a_release_larger_than_allowed_is_refused_before_it_is_fetched(site):
    site.push("a")
    outcome = site.poll(most_bytes=100_000)
    assert outcome.event == "failed" and "more than the 100,000 allowed" in outcome.message
    limited = site.poll(limits=aetool.Limits(file_bytes=1000))
    assert "file_bytes" in limited.message
    assert list((site.device / "staging").iterdir()) == []


def test_names_that_could_lead_outside_are_refused(site, copied, monkeypatch):
    """Such a manifest cannot be pushed: it is put into the store by hand, and the channel names it."""
    version = site.push("a")
    manifest = site.store / "versions" / version / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["../../evil"] = content["files"].pop("README.md")
    text = json.dumps(content).encode()
    manifest.write_bytes(text)
    rewrite(site, {"manifest_sha256": channels.sha256(text)}, site.private)
    assert "does not stay inside the bundle" in site.poll().message
    assert not (site.device / "evil").exists()
