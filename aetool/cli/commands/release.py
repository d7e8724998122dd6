"""`aetool release push`, `renew` and `list`."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say, show_facts, table
from aetool.cli._progress import steps
from aetool.cli.main import CommandGroup

channel = click.option("--channel", default="stable", show_default=True, help="Channel, such as stable or canary.")
_private_key = click.option("--private-key", type=options.PATH, help="Sign with this key.  [default: unsigned]")
_expires = click.option(
    "--expires",
    type=float,
    default=90.0,
    show_default=True,
    metavar="DAYS",
    help="Days until agents stop switching.",
)


@click.group(cls=CommandGroup)
def release() -> None:
    """Release bundles to devices, through a store and its channels.

    A STORE is a directory, a repository of an OCI registry such as oci://registry.example/models/pump, one of the
    Hugging Face Hub such as hf://owner/name (extra: hub), or another URI such as s3://bucket/models (extra:
    agent). Devices take what a channel names: see aetool agent.

    \b
    Example:
      aetool release push exported/machines models --private-key signing.pem
      aetool release list models
    """


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("store")
@channel
@_private_key
@_expires
@click.option("--allow-downgrade", is_flag=True, help="Release an older bundle than the channel's.")
@limit(table=False, bundle=True)
@reports
def push(
    bundle: Path, store: str, channel: str, private_key: Path | None, expires: float, allow_downgrade: bool
) -> Result:
    """Put a bundle into a store, as the current version of a channel.

    A version never changes: its name holds the hash of its manifest. The channel's file names the current version.
    It is signed with --private-key, numbered, so that an old one put back is recognised, and expires. A push that
    was interrupted is continued by the next.

    \b
    Example:
      aetool release push exported/machines models --channel canary --private-key signing.pem
    """
    from aetool.release import push as push_bundle

    paths.require_bundle(bundle)
    steps().step("checking every file's hash, and writing to the store")
    pushed = push_bundle(
        bundle,
        store,
        channel=channel,
        private_key=private_key,
        expires_days=expires,
        allow_downgrade=allow_downgrade,
        limits=limits_in_force(),
    )
    if not pushed.signed:
        say("Not signed: devices cannot tell who released it. Give --private-key, from aetool keygen.")
    found = pushed.channel
    pairs = [
        ("version", found.version),
        ("channel", f"{found.channel}, release {found.sequence}, until {found.expires}"),
        ("written", f"{pushed.written} files; {found.size:,} bytes in all"),
        ("signed", "yes" if pushed.signed else "no"),
    ]
    document = {**found._asdict(), "store": store, "written": pushed.written, "signed": pushed.signed}
    key = f" --public-key {private_key}.pub" if private_key is not None else ""
    following = f"aetool agent {store} -o DIR --channel {channel}{key}"
    return Result(document, lambda out: show_facts(out, pairs, following))


@click.command()
@click.argument("store")
@channel
@_private_key
@click.option("--public-key", type=options.PATH, help="Require that this key's owner signed the channel so far.")
@_expires
@reports
def renew(store: str, channel: str, private_key: Path | None, public_key: Path | None, expires: float) -> Result:
    """Extend the expiry of a channel.

    The current version stays as it was released. An agent that took it back does not try it again.

    \b
    Example:
      aetool release renew models --private-key signing.pem
    """
    from aetool.release import renew as renew_channel

    found = renew_channel(
        store, channel=channel, private_key=private_key, public_key=public_key, expires_days=expires
    )
    pairs = [("channel", f"{found.channel}, sequence {found.sequence}"), ("until", found.expires)]
    return Result(found._asdict(), lambda out: out.print(facts(pairs)))


@click.command("list")
@click.argument("store")
@click.option("--public-key", type=options.PATH, help="Require the signature of this key's owner.")
@reports
def list_releases(store: str, public_key: Path | None) -> Result:
    """List the channels and versions of a store.

    \b
    Example:
      aetool release list models
    """
    from aetool.release import listing

    channels, versions, problems = listing(store, public_key=public_key)
    for problem in problems:
        say(problem)
    document: dict[str, Any] = {
        "channels": [each._asdict() for each in channels],
        "versions": [each._asdict() for each in versions],
        "problems": problems,
    }

    def show(out: Console) -> None:
        rows = [
            (each.version, each.name, each.made, f"{each.size:,}", ", ".join(each.channels)) for each in versions
        ]
        out.print(table(("version", "name", "made", "bytes", "current in"), rows, right=("bytes",)))
        if channels:
            out.print()
        states = [(each.channel, str(each.sequence), each.version, each.expires) for each in channels]
        out.print(table(("channel", "sequence", "version", "until"), states, right=("sequence",)))

    return Result(document, show, 1 if problems else 0)


release.add_section("Commands", push, renew, list_releases)
