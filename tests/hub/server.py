"""A small Hub on 127.0.0.1 that speaks the real one's HTTP API: what huggingface_hub, transformers and peft ask of it.

Repositories live in memory, those of datasets under `datasets/owner/name`; every commit of a branch is a whole set of
files. Endings in LFS go by the LFS protocol and are served by a redirect to another host, as the Hub does; the rest
travels in the commit itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS = (".safetensors", ".parquet", ".bin")
WRITE, READ = "hf_write", "hf_read"
ROLES = {WRITE: "write", READ: "read"}
OWNER = "owner"  # where the tokens may write


@dataclass
class Commit:
    oid: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repository:
    private: bool
    commits: list[Commit] = field(default_factory=lambda: [Commit("0" * 40, "initial commit", {})])
    branches: dict[str, list[Commit]] = field(default_factory=dict)  # beside main

    @property
    def files(self) -> dict[str, bytes]:
        """Of the newest commit."""
        return self.commits[-1].files

    def at(self, revision: str) -> Commit | None:
        if (branch := self.branch(revision)) is not None:
            return branch[-1]
        everything = [*self.commits, *(one for branch in self.branches.values() for one in branch)]
        return next((one for one in everything if one.oid == revision), None)

    def branch(self, name: str) -> list[Commit] | None:
        return self.commits if name == "main" else self.branches.get(name)

    def commit(self, title: str, files: dict[str, bytes], branch: str = "main") -> Commit:
        commits = self.branch(branch)
        assert commits is not None
        commits.append(Commit(hashlib.sha1(f"{branch}{len(commits)}{title}".encode()).hexdigest(), title, files))
        return commits[-1]


@dataclass
class Fault:
    """What happens to the first `times` requests whose method and path hold `request`: a status, or a connection that
    is closed after `bytes` of the body."""

    request: str
    status: int | None = None
    times: int = 1
    bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """The server; tests read and set `repositories` and `fault`; requests whose path holds `drop` get no answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.drop: str | None = None
        self.fault: Fault | None = None
        self.between: Callable[[], object] | None = None  # what somebody else does just before a commit

    def fault_of(self, request: str) -> Fault | None:
        """The fault that this request has; counted off."""
        fault = self.fault
        if fault is None or fault.request not in request or not fault.times:
            return None
        fault.times -= 1
        return fault

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """Another name of this host: the client follows a redirect within one host before it reads the headers."""
        return f"http://localhost:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    do_HEAD = do_POST = do_PUT = do_GET

    # ------------------------------------------------------------ requests
    def _route(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.server.requests.append(f"{self.command} {path}")
        if (fault := self.server.fault_of(f"{self.command} {path}")) is not None and fault.status is None:
            self.rfile.read(fault.bytes)
            self.close_connection = True
            self.connection.close()
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        if self.server.drop is not None and self.server.drop in path:
            self.close_connection = True
            self.connection.close()
            return
        if fault is not None and fault.status is not None:
            self._fail(fault.status, message="as the test wishes", **fault.headers)
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in ROLES:
            self._fail(401, message="Invalid credentials in Authorization header")
            return
        self.role = ROLES.get(token)
        for pattern, handle in ROUTES:
            if (match := re.fullmatch(pattern, path)) is not None:
                named = match.groupdict()
                self.folder = "datasets/" if (named.pop("kind", None) or "").startswith("datasets") else ""
                handle(self, **named)
                return
        self._fail(404, message=f"the test's Hub has no {path}")

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _answer(self, status: int, body: Any = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _fail(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        extra = {"X_Error_Code": code} if code else {}
        self._answer(status, {"error": message}, X_Error_Message=message or code, **extra, **headers)

    def _repository(self, repo_id: str) -> Repository | None:
        """The repository, if this token may see it; else it is answered that there is none."""
        found = self.server.repositories.get(self.folder + repo_id)
        if found is None or (found.private and self.role is None):
            self._fail(404 if self.role else 401, "RepoNotFound", "Repository not found")
            return None
        return found

    def _may_write(self, owner: str) -> bool:
        if self.role == "write" and owner == OWNER:
            return True
        self._fail(403 if self.role else 401, message="You don't have the rights" if self.role else "Log in first")
        return False

    # ------------------------------------------------------------ what the API offers
    def whoami(self) -> None:
        if self.role is None:
            self._fail(401, message="Log in first")
        else:
            self._answer(200, {"name": OWNER, "auth": {"accessToken": {"role": self.role}}})

    def create(self) -> None:
        asked = json.loads(self.body)
        if not self._may_write(asked["organization"]):
            return
        folder = {"model": "", "dataset": "datasets/"}[asked.get("type", "model")]
        repo_id = f"{folder}{asked['organization']}/{asked['name']}"
        there = repo_id in self.server.repositories
        if not there:
            self.server.repositories[repo_id] = Repository(private=asked.get("visibility") == "private")
        self._answer(409 if there else 200, {"url": f"{self.server.url}/{repo_id}", "name": repo_id})

    def validate_yaml(self) -> None:
        import yaml

        asked = json.loads(self.body)
        text = asked["content"]
        block = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        metadata = yaml.safe_load(block.group(1)) if block else None
        lists, texts = CARD_KEYS[asked["repoType"]]
        known = isinstance(metadata, dict) and all(
            isinstance(metadata.get(key, kind()), kind) for keys, kind in ((texts, str), (lists, list)) for key in keys
        )
        errors = [] if known and isinstance(metadata.get("tags"), list) else [{"message": "empty or invalid metadata"}]
        self._answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None or not self._may_write(repo_id.split("/")[0]):
            return
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LFS) else "regular",
                "shouldIgnore": False,
                "oid": git_oid(repository.files[one["path"]]) if one["path"] in repository.files else None,
            }
            for one in json.loads(self.body)["files"]
        ]
        self._answer(200, {"files": files})

    def lfs_batch(self, repo_id: str) -> None:
        objects = []
        for one in json.loads(self.body)["objects"]:
            href = {"href": f"{self.server.url}/lfs/{one['oid']}"}
            objects.append(one if one["oid"] in self.server.blobs else {**one, "actions": {"upload": href}})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def lfs_object(self, oid: str) -> None:
        if self.command != "PUT":
            self._answer(200, self.server.blobs[oid], ETag=f'"{oid}"')
            return
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._fail(400, message="the content is not what was announced")
            return
        self.server.blobs[oid] = self.body
        self._answer(200)

    def commit(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None or not self._may_write(repo_id.split("/")[0]):
            return
        if (commits := repository.branch(revision)) is None:
            self._fail(404, "RevisionNotFound", "Invalid rev id")
            return
        if self.server.between is not None:
            self.server.between()
        files, title = dict(commits[-1].files), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, commits[-1].oid):
                    self._fail(412, message="A commit has happened since. Please refresh and try again.")
                    return
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        done = repository.commit(title, files, revision)
        url = f"{self.server.url}/{self.folder}{repo_id}/commit/{done.oid}"
        self._answer(200, {"success": True, "commitOid": done.oid, "commitUrl": url})

    def make_branch(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None or not self._may_write(repo_id.split("/")[0]):
            return
        if there := repository.branch(revision):
            self._fail(409, message=f"Reference already exists: {there[-1].oid}")
            return
        repository.branches[revision] = list(repository.commits)
        self._answer(200, {})

    def info(self, repo_id: str, revision: str = "main") -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        if (found := repository.at(revision)) is None:
            self._fail(404, "RevisionNotFound", "Invalid rev id")
            return
        siblings = [{"rfilename": path} for path in sorted(found.files)]
        body = {"id": repo_id, "sha": found.oid, "private": repository.private, "siblings": siblings, "tags": []}
        self._answer(200, body)

    def tree(self, repo_id: str, revision: str, folder: str = "") -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        found = repository.at(revision)
        prefix = f"{folder}/" if folder else ""
        if found is None or (prefix and not any(path.startswith(prefix) for path in found.files)):
            self._fail(404, "RevisionNotFound" if found is None else "EntryNotFound", "not there")
            return
        inside = [(path, content) for path, content in sorted(found.files.items()) if path.startswith(prefix)]
        if parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true":
            self._answer(200, [tree_entry(path, content) for path, content in inside])
            return
        rest = {path: path.removeprefix(prefix) for path, _ in inside}
        folders = sorted({prefix + name.split("/")[0] for name in rest.values() if "/" in name})
        entries = [tree_entry(path, content) for path, content in inside if "/" not in rest[path]]
        self._answer(200, [*map(folder_entry, folders), *entries])

    def resolve(self, repo_id: str, revision: str, file: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        if (found := repository.at(revision)) is None:
            self._fail(404, "RevisionNotFound", "Invalid rev id")
            return
        if (content := found.files.get(file)) is None:
            self._fail(404, "EntryNotFound", "Entry not found", X_Repo_Commit=found.oid)
            return
        if not file.endswith(LFS):
            self._answer(200, content, ETag=f'"{git_oid(content)}"', X_Repo_Commit=found.oid)
            return
        oid = hashlib.sha256(content).hexdigest()
        self.server.blobs[oid] = content
        linked = {"X_Linked_ETag": f'"{oid}"', "X_Linked_Size": str(len(content))}
        self._answer(302, b"", Location=f"{self.server.storage}/lfs/{oid}", X_Repo_Commit=found.oid, **linked)


REPO = r"(?P<repo_id>[\w.-]+(?:/[\w.-]+)?)"
API = rf"/api/(?P<kind>models|datasets)/{REPO}"
# Keys of a card's metadata: lists, and texts.
CARD_KEYS = {
    "model": (("tags",), ("library_name", "pipeline_tag", "base_model")),
    "dataset": (
        ("tags", "task_categories", "size_categories", "annotations_creators", "configs"),
        ("license", "language", "pretty_name"),
    ),
}
ROUTES = (
    (r"/api/whoami-v2", Handler.whoami),
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.validate_yaml),
    (rf"{API}/preupload/(?P<revision>[^/]+)", Handler.preupload),
    (rf"{API}/branch/(?P<revision>[^/]+)", Handler.make_branch),
    (rf"{API}/commit/(?P<revision>[^/]+)", Handler.commit),
    (rf"{API}/revision/(?P<revision>[^/]+)", Handler.info),
    (rf"{API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", Handler.tree),
    (API, Handler.info),
    (rf"/(?P<kind>datasets/)?{REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    (r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_object),
    (rf"/(?P<kind>datasets/)?{REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
)


def git_oid(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def tree_entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    if path.endswith(LFS):
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
    return entry


def folder_entry(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": "0" * 40}


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub that answers while the context lasts."""
    hub = Hub()
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
