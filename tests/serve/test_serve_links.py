"""A bundle mounted as Kubernetes mounts a ConfigMap: files are links, and a version is swapped as a whole."""

import shutil

INFER = "/v2/models/mounted/infer"


def swapped(mount, version, source):
    """What the kubelet does: another directory, then one rename of the link that leads to it."""
    shutil.copytree(source, mount / version)
    (mount / "..data_tmp").symlink_to(version)
    (mount / "..data_tmp").rename(mount / "..data")


def test_a_mounted_bundle_is_served_and_replaced_where_links_are_allowed(
    start, exported, bundle, tmp_path, rows, infer_body
):
    """`bundle` is another model of the same table."""
    (mount := tmp_path / "mounted").mkdir()
    swapped(mount, "..1", exported)
    for file in exported.iterdir():
        (mount / file.name).symlink_to(f"..data/{file.name}")
    with start(mount, "--limit", "symbolic_links=true") as server:
        before = server.call("POST", INFER, infer_body(rows[:1]))[2]["model_version"]
        swapped(mount, "..2", bundle)
        shutil.rmtree(mount / "..1")
        assert server.wait_for("bundle replaced")["version"] != before
        assert server.call("POST", INFER, infer_body(rows[:1]))[2]["model_version"] != before
