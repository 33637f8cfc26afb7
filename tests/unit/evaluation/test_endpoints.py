from __future__ import annotations

import pytest

from fake_completion_server import fake_server
from fim.errors import InvalidSettingError, OutputError
from fim.evaluation.endpoints import DIALECTS, Endpoint, dialect_named
from fim.inference import FIRST_LINE
from fim.types import ContextItem, FimExample

HOLE = FimExample("def f(x):\n    ", "return x", "\n", (ContextItem("y = 1\n", "a.py"),))


def endpoint(url: str, dialect: str, **more: object) -> Endpoint:
    return Endpoint(url, dialect_named(dialect), model="tiny", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gets_prefix_and_suffix_and_gives_the_text(dialect: str) -> None:
    with fake_server(lambda prefix, suffix: f"{len(prefix)},{len(suffix)}") as server:
        answers = endpoint(server.url, dialect, key="secret").complete_batch([HOLE, HOLE])
        assert [answer.text for answer in answers] == ["14,1", "14,1"]
        assert answers[0].stop_reason == "end"
        assert len(answers[0].token_ids) == 3
        assert answers[0].milliseconds > 0
        path, body, key = server.requests[0]
        assert path == DIALECTS[dialect].path
        assert key == "Bearer secret"
        assert 0 in {body.get("temperature"), body.get("options", {}).get("temperature")}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_ran_into_the_limit_did_not_stop(dialect: str) -> None:
    with fake_server(lambda *_: "x") as server:
        server.finish = "length"
        [answer] = endpoint(server.url, dialect).complete_batch([HOLE], max_new_tokens=7)
        assert answer.stop_reason == "length"
        body = server.requests[0][1]
        limits = {body.get("max_tokens"), body.get("n_predict")}
        assert 7 in limits | {body.get("options", {}).get("num_predict")}


def test_llamacpp_gets_the_context_as_extra_input() -> None:
    with fake_server(lambda *_: "x") as server:
        endpoint(server.url, "llamacpp").complete_batch([HOLE])
        assert server.requests[0][1]["input_extra"] == [{"filename": "a.py", "text": "y = 1\n"}]


def test_a_stop_rule_cuts_what_came() -> None:
    with fake_server(lambda *_: "one\ntwo") as server:
        [answer] = endpoint(server.url, "openai").complete_batch([HOLE], stop=FIRST_LINE)
        assert (answer.text, answer.stop_reason) == ("one", "first_line")


def test_the_version_part_may_stand_in_the_address() -> None:
    assert endpoint("http://h/v1/", "openai").address == "http://h/v1/completions"
    assert endpoint("http://h", "openai").address == "http://h/v1/completions"
    assert endpoint("http://h/api", "ollama").address == "http://h/api/generate"
    assert endpoint("http://h", "llamacpp").address == "http://h/infill"


def test_an_unreachable_server_is_told() -> None:
    with pytest.raises(OutputError, match="cannot be asked") as caught:
        endpoint("http://127.0.0.1:9", "openai").complete_batch([HOLE])
    assert "start the server" in caught.value.hint


def test_a_refusal_is_told_with_the_server_s_words() -> None:
    with fake_server(lambda *_: "x") as server:
        server.status = 404
        with pytest.raises(OutputError, match=r"answered 404: .*text_completion"):
            endpoint(server.url, "openai").complete_batch([HOLE])


def test_another_dialect_is_told() -> None:
    with fake_server(lambda *_: "x") as server:
        asked = Endpoint(f"{server.url}/v1/fim", DIALECTS["openai"])
        with pytest.raises(OutputError, match="does not answer in the dialect openai"):
            asked.complete_batch([HOLE])


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(InvalidSettingError, match="no dialect 'grpc'") as caught:
        dialect_named("grpc")
    assert "llamacpp" in caught.value.hint
