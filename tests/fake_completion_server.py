"""A completion server on this machine that speaks the real wire format of four dialects."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str], str]


class FakeServer:
    """What was asked of the server, and where it listens."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, Any], str]] = []
        self.finish = "stop"
        self.status = 200
        self.url = ""

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/infill":
            text = self.answer(body["input_prefix"], body["input_suffix"])
            kind = "limit" if self.finish == "length" else "eos"
            return {"content": text, "stop": True, "stop_type": kind, "tokens_predicted": 3}
        text = self.answer(body["prompt"], body["suffix"])
        if path == "/v1/completions":
            return {
                "object": "text_completion",
                "choices": [{"index": 0, "text": text, "finish_reason": self.finish}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
            }
        if path == "/v1/fim/completions":
            message = {"role": "assistant", "content": text}
            return {
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
                "usage": {"completion_tokens": 3},
            }
        if path == "/api/generate":
            return {"response": text, "done": True, "done_reason": self.finish, "eval_count": 3}
        return {"error": f"no {path}"}


@contextmanager
def fake_server(answer: Answer) -> Iterator[FakeServer]:
    """Serve answers until the block ends."""
    fake = FakeServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append((self.path, body, self.headers.get("Authorization", "")))
            data = json.dumps(fake.reply(self.path, body)).encode()
            self.send_response(fake.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
