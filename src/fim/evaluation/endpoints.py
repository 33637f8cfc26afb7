"""Completion servers as contestants: four dialects over HTTP, timed request by request."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.errors import InvalidSettingError, OutputError
from fim.inference.generate import END, LENGTH
from fim.types import Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.inference import StopRule
    from fim.types import FimExample, Progress

TIMEOUT_SECONDS = 120.0
_SHOWN_ERROR_CHARS = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    text: str
    stop_reason: str
    num_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of server is asked.

    Args:
        name: Name on the command line.
        path: Path behind the address.
        request: Makes the body of a hole, a model name and a token limit.
        read: Takes the answer apart; a ``KeyError`` means another dialect.
    """

    name: str
    path: str
    request: Callable[[FimExample, str, int], dict[str, object]]
    read: Callable[[Mapping[str, object]], Reply]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that completes.

    Args:
        url: Address, with or without the dialect's version part.
        dialect: How it is asked.
        model: Model name that the server wants.
        max_new_tokens: Longest answer.
        concurrency: Requests at a time.
        key: Bearer token; empty for none.
        timeout_seconds: Longest wait for an answer.
    """

    url: str
    dialect: Dialect
    model: str = ""
    max_new_tokens: int = 96
    concurrency: int = 1
    key: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS

    def complete_batch(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Return a completion for every example, in order; a stop rule cuts what came.

        Raises:
            OutputError: The server cannot be reached, refuses, or speaks another dialect.
        """
        limit = max_new_tokens or self.max_new_tokens
        answers = []
        with ThreadPoolExecutor(self.concurrency) as pool:
            for answer in pool.map(lambda example: self.complete(example, limit), examples):
                answers.append(answer)
                if progress:
                    progress.advance(len(answers))
        if stop is None:
            return answers
        return [_cut(answer, stop, hole) for answer, hole in zip(answers, examples, strict=True)]

    def complete(self, example: FimExample, max_new_tokens: int) -> Completion:
        """Return the completion of one hole with its time on the wire.

        Raises:
            OutputError: The server cannot be reached, refuses, or speaks another dialect.
        """
        body = self.dialect.request(example, self.model, max_new_tokens)
        started = time.perf_counter()
        reply = self._ask(body)
        spent = (time.perf_counter() - started) * 1000
        return Completion(reply.text, (0,) * reply.num_tokens, reply.stop_reason, spent)

    @property
    def address(self) -> str:
        """Where requests go; a version part that is in both is not doubled."""
        base = self.url.rstrip("/")
        first = "/" + self.dialect.path.split("/")[1]
        path = self.dialect.path.removeprefix(first) if base.endswith(first) else self.dialect.path
        return base + path

    def _ask(self, body: Mapping[str, object]) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = json.dumps(body).encode("utf-8")
        try:
            request = urllib.request.Request(self.address, data=data, headers=headers)  # noqa: S310
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                return self.dialect.read(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            told = error.read().decode("utf-8", "replace")[:_SHOWN_ERROR_CHARS]
            raise OutputError(
                f"{self.address} answered {error.code}: {told}",
                hint="check --model and that the server was started for completion",
            ) from error
        except (OSError, ValueError) as error:
            if isinstance(error, json.JSONDecodeError):
                raise self._foreign(error) from error
            raise OutputError(
                f"{self.address} cannot be asked: {error}",
                hint="start the server, and check --endpoint",
            ) from error
        except (KeyError, IndexError, TypeError) as error:
            raise self._foreign(error) from error

    def _foreign(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self.address} does not answer in the dialect {self.dialect.name} "
            f"({type(error).__name__}: {error})",
            hint=f"choose another --dialect: {', '.join(DIALECTS)}",
        )


def dialect_named(name: str) -> Dialect:
    """Return a dialect.

    Raises:
        InvalidSettingError: There is none of that name.
    """
    if name not in DIALECTS:
        raise InvalidSettingError(
            f"there is no dialect {name!r}, so the server cannot be asked",
            hint=f"use one of: {', '.join(DIALECTS)}",
        )
    return DIALECTS[name]


def _cut(answer: Completion, rule: StopRule, hole: FimExample) -> Completion:
    scan = rule.scan(answer.text, prefix=hole.prefix, suffix=hole.suffix, final=True)
    if scan.cut is None and answer.stop_reason == END:
        line_end = rule.missing_line_end(answer.text, prefix=hole.prefix, suffix=hole.suffix)
        return replace(answer, text=answer.text + line_end)
    if scan.cut is None:
        return answer
    return Completion(answer.text[: scan.cut], answer.token_ids, rule.name, answer.milliseconds)


def _reason(finished: object) -> str:
    return LENGTH if finished == "length" else END


def _openai_request(example: FimExample, model: str, limit: int) -> dict[str, object]:
    return {
        "model": model,
        "prompt": example.prefix,
        "suffix": example.suffix,
        "max_tokens": limit,
        "temperature": 0,
    }


def _openai_reply(answer: Mapping[str, object]) -> Reply:
    choice = _first_choice(answer)
    return Reply(str(choice["text"]), _reason(choice.get("finish_reason")), _used(answer))


def _mistral_reply(answer: Mapping[str, object]) -> Reply:
    choice = _first_choice(answer)
    message = choice["message"]
    if not isinstance(message, dict):
        raise TypeError("message is no object")
    return Reply(str(message["content"]), _reason(choice.get("finish_reason")), _used(answer))


def _first_choice(answer: Mapping[str, object]) -> Mapping[str, object]:
    choices = answer["choices"]
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        raise TypeError("choices is no list of objects")
    return choices[0]


def _used(answer: Mapping[str, object]) -> int:
    usage = answer.get("usage")
    used = usage.get("completion_tokens") if isinstance(usage, dict) else 0
    return int(used or 0)


def _llamacpp_request(example: FimExample, model: str, limit: int) -> dict[str, object]:
    body: dict[str, object] = {
        "input_prefix": example.prefix,
        "input_suffix": example.suffix,
        "input_extra": [
            {"filename": item.path or "", "text": item.text} for item in example.context
        ],
        "prompt": "",
        "n_predict": limit,
        "temperature": 0,
        "stream": False,
    }
    return body | ({"model": model} if model else {})


def _llamacpp_reply(answer: Mapping[str, object]) -> Reply:
    is_cut = answer.get("stop_type") == "limit" or answer.get("stopped_limit") is True
    count = int(str(answer.get("tokens_predicted", 0)))
    return Reply(str(answer["content"]), LENGTH if is_cut else END, count)


def _ollama_request(example: FimExample, model: str, limit: int) -> dict[str, object]:
    return {
        "model": model,
        "prompt": example.prefix,
        "suffix": example.suffix,
        "stream": False,
        "options": {"num_predict": limit, "temperature": 0, "seed": 0},
    }


def _ollama_reply(answer: Mapping[str, object]) -> Reply:
    count = int(str(answer.get("eval_count", 0)))
    return Reply(str(answer["response"]), _reason(answer.get("done_reason")), count)


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("openai", "/v1/completions", _openai_request, _openai_reply),
        Dialect("llamacpp", "/infill", _llamacpp_request, _llamacpp_reply),
        Dialect("mistral", "/v1/fim/completions", _openai_request, _mistral_reply),
        Dialect("ollama", "/api/generate", _ollama_request, _ollama_reply),
    )
}
