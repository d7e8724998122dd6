"""A bundle mounted as Kubernetes mounts a ConfigMap: files are links, and a version is swapped as a whole."""

import shutil
import time

INFER = "/v2/models/mounted/infer"


def swapped(mount, version, source):
    """What the kubelet does: another directory, one rename of the link to it, then links to new files."""
    shutil.copytree(source, mount / version)
    (mount / "..data_tmp").symlink_to(version)
    (mount / "..data_tmp").rename(mount / "..data")
    time.sleep(1)  # longer than until the server looks
    for file in source.iterdir():
        if not (mount / file.name).is_symlink():
            (mount / file.name).symlink_to(f"..data/{file.name}")


def test_a_mounted_bundle_is_served_and_replaced_where_links_are_allowed(
    start, exported, bundle, tmp_path, rows, infer_body
):
    """`bundle` is another model of the same table."""
    (mount := tmp_path / "mounted").mkdir()
    swapped(mount, "..1", exported)
    with start(mount, "--limit", "symbolic_links=true") as server:
        before = server.call("POST", INFER, infer_body(rows[:1]))[2]["model_version"]
        swapped(mount, "..2", bundle)
        shutil.rmtree(mount / "..1")
        assert server.wait_for("bundle replaced")["version"] != before
        assert server.call("POST", INFER, infer_body(rows[:1]))[2]["model_version"] != before
