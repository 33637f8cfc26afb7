"""A small model hub on localhost: what the real client asks for in uploads and downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_good"
READ_ONLY_TOKEN = "hf_readonly"
USER = "someone"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_ENDINGS = (".safetensors",)


@dataclass
class HubState:
    """What the hub holds and was asked."""

    repos: dict[str, dict[str, object]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def fake_hub() -> Iterator[HubState]:
    """Run a hub in a thread while the context lasts."""
    state = HubState()
    server = _Server(state)
    state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class _Server(ThreadingHTTPServer):
    """A server that knows what the hub holds."""

    def __init__(self, state: HubState) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state


class Handler(BaseHTTPRequestHandler):
    """Answers for the state of its server."""

    @property
    def state(self) -> HubState:
        assert isinstance(self.server, _Server)
        return self.server.state

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: object = None, **headers: str) -> None:
        raw = json.dumps(body if body is not None else {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def is_refused(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token == TOKEN:
            return False
        if token == READ_ONLY_TOKEN:
            self.answer(403, {"error": "You don't have the rights to create a model"})
        else:
            told = {} if token else {"X_Error_Code": "RepoNotFound"}
            self.answer(401, {"error": "Invalid username or password."}, **told)
        return True

    def do_GET(self) -> None:
        self.state.requests.append(f"GET {self.path}")
        if self.path.startswith("/api/whoami"):
            self.answer(200, {"type": "user", "name": USER, "orgs": []})
        elif self.path.startswith("/api/models/"):
            self.describe("/".join(self.path.split("/")[3:5]).partition("?")[0])
        elif "/resolve/" in self.path:
            self.send_file(is_wanted=True)
        else:
            self.answer(404, {"error": "not found"})

    def do_HEAD(self) -> None:
        self.state.requests.append(f"HEAD {self.path}")
        self.send_file(is_wanted=False)

    def describe(self, name: str) -> None:
        if name not in self.state.files:
            self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
        elif not self.is_refused():
            files = self.state.files[name]
            siblings = [{"rfilename": file} for file in files]
            if "/tree/" in self.path:
                self.answer(200, [_entry(file, raw) for file, raw in files.items()])
                return
            self.answer(200, {"id": name, "sha": COMMIT, "siblings": siblings})

    def send_file(self, *, is_wanted: bool) -> None:
        name, _, file = self.path.removeprefix("/").partition(f"/resolve/{COMMIT}/")
        raw = self.state.files.get(name, {}).get(file)
        if raw is None:
            self.answer(404, {"error": "no file"}, X_Error_Code="EntryNotFound")
            return
        if self.is_refused():
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("ETag", f'"{hashlib.sha256(raw).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if is_wanted:
            self.wfile.write(raw)

    def do_PUT(self) -> None:
        self.state.requests.append(f"PUT {self.path}")
        raw = self.body()
        self.state.blobs[hashlib.sha256(raw).hexdigest()] = raw
        self.answer(200)

    def do_POST(self) -> None:
        self.state.requests.append(f"POST {self.path}")
        raw = self.body()
        if self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.is_refused():
            return
        elif self.path == "/api/repos/create":
            self.create(json.loads(raw))
        elif "/preupload/" in self.path:
            files = [_mode(each["path"]) for each in json.loads(raw)["files"]]
            self.answer(200, {"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [_action(self.state, each) for each in json.loads(raw)["objects"]]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            self.commit(raw)
        else:
            self.answer(404, {"error": "not found"})

    def create(self, wanted: dict[str, object]) -> None:
        name = f"{wanted.get('organization') or USER}/{wanted['name']}"
        url = f"{self.state.endpoint}/{name}"
        if name in self.state.repos:
            self.answer(409, {"error": "You already created this model repo", "url": url})
            return
        self.state.repos[name] = wanted
        self.answer(200, {"url": url, "name": name, "id": "1"})

    def commit(self, raw: bytes) -> None:
        name = "/".join(self.path.split("/")[3:5])
        files = self.state.files.setdefault(name, {})
        for line in raw.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.state.blobs[value["oid"]]
        url = f"{self.state.endpoint}/{name}/commit/abc"
        self.answer(200, {"success": True, "commitOid": "abc", "commitUrl": url})


def _entry(path: str, raw: bytes) -> dict[str, object]:
    oid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": path, "size": len(raw), "oid": oid}


def _mode(path: str) -> dict[str, object]:
    mode = "lfs" if path.endswith(LARGE_ENDINGS) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _action(state: HubState, wanted: dict[str, object]) -> dict[str, object]:
    href = f"{state.endpoint}/blobs/{wanted['oid']}"
    return {**wanted, "actions": {"upload": {"href": href, "header": {}}}}
