"""A small model hub on localhost: what the real client asks for when it uploads a model."""

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
            self.answer(401, {"error": "Invalid username or password."})
        return True

    def do_GET(self) -> None:
        self.state.requests.append(f"GET {self.path}")
        if self.path.startswith("/api/whoami"):
            self.answer(200, {"type": "user", "name": USER, "orgs": []})
        else:
            self.answer(404, {"error": "not found"})

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


def _mode(path: str) -> dict[str, object]:
    mode = "lfs" if path.endswith(LARGE_ENDINGS) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _action(state: HubState, wanted: dict[str, object]) -> dict[str, object]:
    href = f"{state.endpoint}/blobs/{wanted['oid']}"
    return {**wanted, "actions": {"upload": {"href": href, "header": {}}}}
