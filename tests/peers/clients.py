"""The Python clients of OpenAI and Ollama against a server: clients.py URL. Ends with 1 and a line when one is let down."""
import base64
import json
import os
import struct
import sys
import zlib

import ollama
import openai

URL = sys.argv[1]
MODEL = "model"
SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
          "required": ["kind", "n"], "additionalProperties": False}


def png():
    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(96) for _ in range(3)) for y in range(64))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def check_openai():
    client = openai.OpenAI(base_url=URL + "/v1", api_key="none", max_retries=0)
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What is it?"},
                                             {"type": "image_url", "image_url": {"url": url}}]}]
    whole = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=8, temperature=0)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=8, temperature=0,
                                            stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    several = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4, n=3, temperature=1, seed=1)
    assert len(several.choices) == 3
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=200, response_format=form)
    assert json.loads(answer.choices[0].message.content)["kind"] in "ab"
    try:
        client.chat.completions.create(model=MODEL, messages=messages, logit_bias={"5": 1})
        raise AssertionError("logit_bias was not refused")
    except openai.BadRequestError as error:
        assert "logit_bias" in str(error)
    scored = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4, logprobs=True, top_logprobs=2)
    tokens = scored.choices[0].logprobs.content
    assert len(tokens) == scored.usage.completion_tokens and len(tokens[0].top_logprobs) == 2
    assert tokens[0].logprob <= 0
    try:
        client.chat.completions.create(model="none", messages=messages)
        raise AssertionError("a model that is not here was not refused")
    except openai.NotFoundError:
        pass
    response = client.responses.create(model=MODEL, input="hello", max_output_tokens=8)
    with client.responses.stream(model=MODEL, input="hello", max_output_tokens=8) as events:
        streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert streamed == response.output_text, (streamed, response)


def check_ollama():
    client = ollama.Client(host=URL)
    assert MODEL in [model.model for model in client.list().models]
    assert "vision" in client.show(MODEL).capabilities
    messages = [{"role": "user", "content": "What is it?", "images": [png()]}]
    whole = client.chat(model=MODEL, messages=messages, options={"num_predict": 8})
    parts = list(client.chat(model=MODEL, messages=messages, options={"num_predict": 8}, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert parts[-1].eval_count == whole.eval_count and parts[-1].total_duration > 0
    answer = client.chat(model=MODEL, messages=messages, format=SCHEMA, options={"num_predict": 200})
    assert json.loads(answer.message.content)["kind"] in "ab"
    answer = client.generate(model=MODEL, prompt="hello", images=[png()], options={"num_predict": 4}, keep_alive="1m")
    assert answer.done and answer.response is not None
    assert [model.model for model in client.ps().models] == [MODEL]
    for wrong in ({"model": "none"}, {"model": MODEL, "think": True}):
        try:
            client.chat(messages=messages, **wrong)
            raise AssertionError("%s was not refused" % wrong)
        except ollama.ResponseError as error:
            assert error.status_code in (400, 404), error
    assert client.pull(MODEL).status == "success"
    assert [part.status for part in client.pull(MODEL, stream=True)][-1] == "success"


for name, check in (("openai", check_openai), ("ollama", check_ollama)):
    version = __import__("importlib.metadata").metadata.version(name)
    try:
        check()
    except Exception as failure:
        print("FAILED %s %s (Python): %s: %s" % (name, version, type(failure).__name__, failure))
        sys.stdout.flush()
        os._exit(1)
    print("ok     %s %s (Python)" % (name, version))
