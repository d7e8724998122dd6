"""The HTTP API of the Hugging Face Hub, as far as huggingface_hub uses it to commit and list files."""

import base64
import hashlib
import json
from urllib.parse import urlsplit

from registries import Quiet, Served

TOKEN = "hf_secret"
LARGE = (".onnx", ".npz")


class Hub(Served):
    """One repository, whose large files lie on another host; a context manager."""

    def __init__(self, repository):
        self.repository, self.files, self.large, self.asked = repository, {}, {}, []
        self.sha, self.commits = "0" * 40, []
        outer = self

        class Handler(Quiet):
            def do_GET(self):  # noqa: N802
                outer.asked.append((self.command, self.path, dict(self.headers)))
                path = urlsplit(self.path).path
                if path.startswith("/large/"):
                    self.part(outer.large[path.rpartition("/")[2]])
                elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.give(401, b"", X_Error_Code="RepoNotFound")
                elif path == f"/api/models/{repository}":
                    self.answer({"id": repository, "sha": outer.sha})
                elif path.startswith(tree := f"/api/models/{repository}/tree/main/"):
                    self.tree(path.removeprefix(tree))
                elif path.startswith(file := f"/{repository}/resolve/main/"):
                    self.file(path.removeprefix(file))
                else:
                    self.give(404, b"")

            def do_POST(self):  # noqa: N802
                outer.asked.append((self.command, self.path, dict(self.headers)))
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/api/validate-yaml":
                    self.answer({"errors": [], "warnings": []})
                elif "/preupload/" in self.path:
                    modes = [
                        {
                            "path": each["path"],
                            "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                        }
                        for each in json.loads(sent)["files"]
                    ]
                    self.answer({"files": modes})
                elif self.path.endswith("/info/lfs/objects/batch"):
                    objects = [
                        each
                        if each["oid"] in outer.large
                        else {**each, "actions": {"upload": {"href": outer.place(each["oid"])}}}
                        for each in json.loads(sent)["objects"]
                    ]
                    self.answer({"transfer": "basic", "objects": objects})
                elif "/commit/" in self.path:
                    self.commit([json.loads(line) for line in sent.splitlines()])
                else:
                    self.give(404, b"")

            def do_PUT(self):  # noqa: N802
                outer.asked.append((self.command, self.path, dict(self.headers)))
                content = self.rfile.read(int(self.headers["Content-Length"]))
                assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
                outer.large[hashlib.sha256(content).hexdigest()] = content
                self.give(200, b"")

            def answer(self, document):
                self.give(200, json.dumps(document).encode(), Content_Type="application/json")

            def tree(self, folder):
                inside = [path.removeprefix(f"{folder}/") for path in outer.files if path.startswith(f"{folder}/")]
                if not inside:
                    self.give(404, b"", X_Error_Code="EntryNotFound")
                    return
                kinds = {name.partition("/")[0]: "directory" if "/" in name else "file" for name in inside}
                self.answer(
                    [
                        {"type": kind, "path": f"{folder}/{name}", "oid": "1", "size": 1}
                        for name, kind in kinds.items()
                    ]
                )

            def file(self, path):
                if path not in outer.files:
                    self.give(404, b"", X_Error_Code="EntryNotFound")
                elif isinstance(content := outer.files[path], str):
                    self.give(302, b"", Location=outer.place(content))
                else:
                    self.part(content)

            def part(self, content):
                start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
                if start:
                    self.give(
                        206, content[start:], Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}"
                    )
                else:
                    self.give(200, content)

            def commit(self, lines):
                header, *operations = lines
                if header["value"].get("parentCommit") != outer.sha:
                    self.give(412, b'{"error": "main has moved"}')
                    return
                for each in operations:
                    value = each["value"]
                    large = each["key"] == "lfsFile"
                    outer.files[value["path"]] = value["oid"] if large else base64.b64decode(value["content"])
                outer.commits.append(sorted(each["value"]["path"] for each in operations))
                outer.sha = f"{len(outer.commits):040}"
                self.answer(
                    {
                        "success": True,
                        "commitOid": outer.sha,
                        "commitUrl": f"http://{outer.host}/{repository}/commit/{outer.sha}",
                    }
                )

        super().__init__(Handler)

    def place(self, oid):
        return f"http://localhost:{self.server.server_port}/large/{oid}"
