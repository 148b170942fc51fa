"""Ollama's and OpenAI's dialects: what their clients send, what they read."""

import json
import math
import os
import subprocess
import sys
import urllib.request

import common

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
                                           "age": {"type": "integer", "minimum": 0, "maximum": 120},
                                           "kind": {"enum": ["a", "b"]}},
          "required": ["name", "age", "kind"], "additionalProperties": False}


class Ollama(common.Server):
    def chat(self, code=200, **more):
        body = {"model": "model", "messages": [{"role": "user", "content": "hello"}], "options": {"num_predict": 6}}
        return self.post("/api/chat", {**body, **more}, code)

    def test_a_stream_is_lines_and_the_last_one_counts(self):
        lines = self.chat()
        self.assertGreaterEqual(len(lines), 2)
        for line in lines[:-1]:
            self.assertFalse(line["done"])
            self.assertEqual(line["message"]["role"], "assistant")
            self.assertRegex(line["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
        last = lines[-1]
        self.assertTrue(last["done"])
        self.assertIn(last["done_reason"], ("stop", "length"))
        for key in ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
                    "eval_duration"):
            self.assertIsInstance(last[key], int)
        whole = self.chat(stream=False)
        self.assertEqual("".join(line["message"]["content"] for line in lines), whole["message"]["content"])
        self.assertEqual(whole["model"], "model")

    def test_generate_with_pictures_and_a_system_text(self):
        body = {"model": "model", "prompt": "What is it?", "system": "Be brief.", "images": [self.picture()],
                "stream": False, "options": {"num_predict": 4, "temperature": 0}}
        one = self.post("/api/generate", body)
        self.assertIn("response", one)
        self.assertGreater(one["prompt_eval_count"], 20)
        body["images"] = [self.picture(), "data:image/png;base64," + self.picture(1)]
        two = self.post("/api/generate", body)
        self.assertGreater(two["prompt_eval_count"], one["prompt_eval_count"])

    def test_format_json_and_schemas_hold(self):
        for seed in range(5):
            options = {"num_predict": 400, "temperature": 1.2, "seed": seed}
            answer = self.chat(format=PERSON, stream=False, options=options)
            if answer["done_reason"] == "stop":
                person = json.loads(answer["message"]["content"])
                self.assertEqual(list(person), ["name", "age", "kind"])
                self.assertLessEqual(len(person["name"]), 8)
                self.assertTrue(0 <= person["age"] <= 120 and person["kind"] in "ab")
            answer = self.chat(format="json", stream=False, options={**options, "num_predict": 200})
            if answer["done_reason"] == "stop":
                self.assertIsInstance(json.loads(answer["message"]["content"]), dict)
        self.assertIn("not supported", self.chat(400, format={"type": "array", "uniqueItems": True})["error"])
        self.assertIn("schema", self.chat(400, format={"type": "nonsense"})["error"])

    def test_what_is_not_held_is_a_clear_400(self):
        for more, word in [({"think": True}, "think"), ({"tools": [{}]}, "tools"), ({"format": "xml"}, "format"),
                           ({"options": {"mirostat": 2}}, "mirostat"), ({"options": {"temperature": -1}}, "temperature"),
                           ({"options": []}, "options"), ({"keep_alive": "soon"}, "keep_alive"),
                           ({"messages": {}}, "messages"), ({"messages": [1]}, "message"),
                           ({"messages": [{"role": "tool", "content": ""}]}, "role"),
                           ({"messages": [{"role": "user", "images": ["!!"]}]}, "base64"),
                           ({"messages": [{"role": "user", "images": ["aGVsbG8="]}]}, "not a JPEG"),
                           ({"options": {"stop": [""]}}, "stop"), ({"stream": "yes"}, "stream")]:
            answer = self.chat(400, **more)
            self.assertEqual(list(answer), ["error"])
            self.assertIn(word, answer["error"])
        self.assertIn("not found", self.chat(404, model="llama9")["error"])
        self.assertIn("JSON", self.post("/api/chat", b"[]", 400)["error"])
        self.post("/api/chat", b"{\"model\":", 400)
        self.assertIn("context", self.chat(400, messages=[{"role": "user", "content": "word " * 300000}])["error"])

    def test_every_documented_field_is_answered_or_refused_by_name(self):
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        for more, word in [
                ({"think": False}, None), ({"think": True}, "think"), ({"think": "high"}, "think"), ({"tools": []}, None),
                ({"tools": [tool]}, "tools"), ({"logprobs": True, "top_logprobs": 2}, None), ({"top_logprobs": 2}, "logprobs"),
                ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"), ({"keep_alive": "1h30m"}, None),
                ({"format": ""}, None), ({"truncate": True}, "truncate"), ({"shift": True}, "shift"),
                ({"messages": [{"role": "assistant", "content": "", "tool_calls": [tool]}]}, "tool_calls"),
                ({"messages": [{"role": "user", "content": "x", "tool_name": "f"}]}, "tool_name"),
                ({"messages": [{"role": "assistant", "content": "x", "thinking": "hm"}]}, "thinking")]:
            answer = self.chat(400 if word else 200, **more)
            if word:
                self.assertIn(word, answer["error"])
        for option, word in [
                ({"num_keep": 4, "num_ctx": 1024, "num_batch": 2, "num_gpu": 1, "main_gpu": 0, "use_mmap": True, "numa": False,
                  "num_thread": 8, "low_vram": False}, None), ({"top_k": 20, "top_p": 0.9, "min_p": 0.1, "seed": 3}, None),
                ({"presence_penalty": 1.5, "frequency_penalty": 1, "repeat_penalty": 1.2}, None), ({"typical_p": 0.7}, "typical_p"),
                ({"repeat_last_n": 33}, "repeat_last_n"), ({"presence_penalty": 3}, "presence_penalty"),
                ({"penalize_newline": True}, "penalize_newline"), ({"mirostat": 1}, "mirostat"), ({"tfs_z": 0.5}, "tfs_z")]:
            answer = self.chat(400 if word else 200, options={"num_predict": 2, **option})
            if word:
                self.assertIn(word, answer["error"])
        for more in ({"raw": True}, {"template": "{{ .Prompt }}"}, {"suffix": "x"}, {"context": [1]}):
            answer = self.post("/api/generate", {"model": "model", "prompt": "x", **more}, 400)
            self.assertIn(list(more)[0], answer["error"])

    def test_logprobs(self):
        lines = self.chat(logprobs=True, top_logprobs=2)
        whole = self.chat(logprobs=True, top_logprobs=2, stream=False)
        self.assertEqual([one for line in lines for one in line.get("logprobs", [])], whole["logprobs"])
        self.assertEqual(len(whole["logprobs"]), whole["eval_count"])
        self.assertEqual(len(whole["logprobs"][0]["top_logprobs"]), 2)
        self.assertNotIn("logprobs", self.chat(stream=False))

    def test_stop_texts_end_the_answer_before_them(self):
        text = self.chat(stream=False, options={"num_predict": 12})["message"]["content"]
        self.assertGreater(len(text), 2)
        stop = text[1:3]
        cut = self.chat(stream=False, options={"num_predict": 12, "stop": [stop]})
        self.assertEqual(cut["message"]["content"], text[:text.index(stop)])
        self.assertEqual(cut["done_reason"], "stop")

    def test_models_are_told(self):
        tags = json.loads(self.get("/api/tags"))["models"]
        self.assertEqual(tags[0]["name"], "model")
        self.assertGreater(tags[0]["size"], 100000)
        self.assertEqual(len(tags[0]["digest"]), 64)
        show = self.post("/api/show", {"model": "model:latest"})
        self.assertEqual(show["capabilities"], ["completion", "vision"])
        self.assertIn("qwen3vl.context_length", show["model_info"])
        self.post("/api/show", {"model": "nothing"}, 404)
        self.assertRegex(json.loads(self.get("/api/version"))["version"], r"^\d+\.\d+")
        self.assertEqual(self.post("/api/pull", {"model": "model", "stream": False}), {"status": "success"})
        self.assertIn("allow-pull", self.post("/api/pull", {"model": "ORG/OTHER"}, 403)["error"])
        self.assertIn("error", self.post("/api/embed", {"model": "model"}, 400))

    def test_keep_alive_loads_and_unloads(self):
        answer = self.post("/api/generate", {"model": "model", "stream": False})
        self.assertEqual((answer["done_reason"], answer["done"]), ("load", True))
        self.assertEqual(json.loads(self.get("/api/ps"))["models"][0]["name"], "model")
        answer = self.post("/api/generate", {"model": "model", "keep_alive": 0, "stream": False})
        self.assertEqual(answer["done_reason"], "unload")
        self.wait_for(lambda: json.loads(self.get("/api/ps"))["models"] == [])
        self.chat(keep_alive="300ms")
        self.wait_for(lambda: json.loads(self.get("/api/ps"))["models"] == [])
        self.chat(keep_alive=-1)
        self.assertEqual(len(json.loads(self.get("/api/ps"))["models"]), 1)


class OpenAi(common.Server):
    def chat(self, code=200, **more):
        body = {"model": "model", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6}
        return self.post("/v1/chat/completions", {**body, **more}, code)

    def test_whole_and_streamed_say_the_same(self):
        whole = self.chat()
        choice = whole["choices"][0]
        self.assertEqual(whole["object"], "chat.completion")
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        usage = whole["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        events = self.chat(stream=True, stream_options={"include_usage": True})
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(events[-2]["choices"], [])
        self.assertEqual(events[-2]["usage"]["completion_tokens"], usage["completion_tokens"])
        deltas = [event["choices"][0]["delta"] for event in events[:-2]]
        self.assertEqual(deltas[0], {"role": "assistant", "content": ""})
        self.assertEqual("".join(delta.get("content", "") for delta in deltas), choice["message"]["content"])
        self.assertEqual(events[-3]["choices"][0]["finish_reason"], choice["finish_reason"])
        self.assertEqual(len({event["id"] for event in events[:-1]}), 1)

    def test_seeds_repeat_and_choices_differ(self):
        one = self.chat(temperature=1, seed=7, n=4, max_tokens=12)
        two = self.chat(temperature=1, seed=7, n=4, max_tokens=12)
        texts = [choice["message"]["content"] for choice in one["choices"]]
        self.assertEqual(texts, [choice["message"]["content"] for choice in two["choices"]])
        self.assertEqual([choice["index"] for choice in one["choices"]], [0, 1, 2, 3])
        self.assertGreater(len(set(texts)), 1)
        free = {self.chat(temperature=1.5, max_tokens=12)["choices"][0]["message"]["content"] for _ in range(4)}
        self.assertGreater(len(free), 1)
        events = self.chat(temperature=1, seed=7, n=4, max_tokens=12, stream=True)
        joined = [""] * 4
        for event in events[:-1]:
            choice = event["choices"][0]
            joined[choice["index"]] += choice["delta"].get("content", "")
        self.assertEqual(joined, texts)

    def test_pictures_and_schemas(self):
        content = [{"type": "text", "text": "Two:"},
                   {"type": "image_url", "image_url": {"url": "data:image/png;base64," + self.picture(0)}},
                   {"type": "image_url", "image_url": {"url": "data:image/png;base64," + self.picture(1), "detail": "low"}}]
        answer = self.chat(messages=[{"role": "developer", "content": "x"}, {"role": "user", "content": content}])
        self.assertGreater(answer["usage"]["prompt_tokens"], 20)
        form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
        for seed in range(5):
            choice = self.chat(response_format=form, temperature=1, seed=seed, max_tokens=300)["choices"][0]
            if choice["finish_reason"] == "stop":
                self.assertEqual(list(json.loads(choice["message"]["content"])), ["name", "age", "kind"])
        choice = self.chat(response_format={"type": "json_object"}, max_tokens=100)["choices"][0]
        if choice["finish_reason"] == "stop":
            self.assertIsInstance(json.loads(choice["message"]["content"]), dict)

    def test_what_is_not_held_is_a_clear_400(self):
        for more, word in [({"tools": [{}]}, "tools"), ({"n": 9}, "n"),
                           ({"presence_penalty": 2.5}, "presence_penalty"), ({"logit_bias": {"1": 2}}, "logit_bias"),
                           ({"max_tokens": 0}, "max_tokens"), ({"max_token": 5}, "max_token"),
                           ({"temperature": "hot"}, "temperature"), ({"top_p": 7}, "top_p"),
                           ({"response_format": {"type": "yaml"}}, "response_format"),
                           ({"response_format": {"type": "json_schema", "json_schema": {}}}, "schema"),
                           ({"messages": []}, "messages"), ({"stop": ["x"] * 99}, "stop"),
                           ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input_audio"),
                           ({"messages": [{"role": "user", "content": [
                               {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]}]}, "network")]:
            error = self.chat(400, **more)["error"]
            self.assertEqual(error["type"], "invalid_request_error")
            self.assertIn(word, error["message"])
        self.assertEqual(self.chat(404, model="gpt-9")["error"]["code"], "model_not_found")
        for neutral in ({"logprobs": False}, {"presence_penalty": 0}, {"frequency_penalty": 0.0}, {"tools": []},
                        {"logit_bias": {}}, {"user": "me"}, {"stop": None}, {"seed": None}):
            self.chat(**neutral)
        self.post("/v1/embeddings", {"model": "model", "input": "x"}, 400)

    def test_every_documented_field_is_answered_or_refused_by_name(self):
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        accepted = [
            {"frequency_penalty": 1.5}, {"presence_penalty": -2}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 20},
            {"max_completion_tokens": 3}, {"max_tokens": 3}, {"metadata": {"a": "b"}}, {"modalities": ["text"]}, {"n": 2},
            {"parallel_tool_calls": True}, {"prompt_cache_key": "k"}, {"prompt_cache_retention": "24h"}, {"store": False},
            {"reasoning_effort": "none"}, {"response_format": {"type": "text"}}, {"safety_identifier": "s"}, {"seed": 5},
            {"service_tier": "auto"}, {"service_tier": "flex"}, {"priority": -3}, {"priority": 0}, {"stop": "x"}, {"stop": ["x", "y"]}, {"stream": False}, {"temperature": 0.5},
            {"tool_choice": "none"}, {"tools": []}, {"top_p": 0.5}, {"user": "u"}, {"verbosity": "medium"},
            {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
            {"messages": [{"role": "user", "content": "x", "name": None}]}]
        refused = [
            {"audio": {"voice": "x"}}, {"function_call": "auto"}, {"functions": [{}]}, {"logit_bias": {"5": 1}},
            {"modalities": ["text", "audio"]}, {"prediction": {"type": "content"}}, {"reasoning_effort": "low"},
            {"service_tier": "scale"}, {"priority": "high"}, {"store": True}, {"tool_choice": "auto"}, {"tools": [tool]}, {"verbosity": "low"},
            {"web_search_options": {}}, {"moderation": {}}, {"top_logprobs": 3}, {"top_logprobs": 21, "logprobs": True},
            {"frequency_penalty": 2.5}, {"n": 0}, {"n": 9}, {"response_format": {"type": "grammar"}}]
        in_message = [{"name": "me"}, {"tool_calls": [tool]}, {"tool_call_id": "x"}, {"function_call": {}}, {"audio": {}}]
        for more in accepted:
            self.chat(**more)
        for more in refused:
            self.assertIn(list(more)[0], self.chat(400, **more)["error"]["message"])
        for more in in_message:
            answer = self.chat(400, messages=[{"role": "user", "content": "x", **more}])
            self.assertIn(list(more)[0], answer["error"]["message"])
        for role in ("tool", "function"):
            self.assertIn("role", self.chat(400, messages=[{"role": role, "content": "x"}])["error"]["message"])
        for kind in ("input_audio", "file", "refusal"):
            content = [{"type": kind, kind: {}}]
            self.assertIn(kind, self.chat(400, messages=[{"role": "user", "content": content}])["error"]["message"])

    def test_the_tier_is_told_back(self):
        for more, told in (({}, "default"), ({"service_tier": "auto"}, "default"), ({"service_tier": "flex"}, "flex"),
                           ({"service_tier": "priority"}, "priority"), ({"priority": -1}, "priority"), ({"priority": 7}, "flex"),
                           ({"priority": -1, "service_tier": "default"}, "default")):
            self.assertEqual(self.chat(**more)["service_tier"], told)
            body = {"model": "model", "input": "hello", "max_output_tokens": 2, **more}
            self.assertEqual(self.post("/v1/responses", body)["service_tier"], told)
        events = self.chat(stream=True, service_tier="flex")
        self.assertEqual({event["service_tier"] for event in events if event != "[DONE]"}, {"flex"})

    def test_responses_fields_are_answered_or_refused_by_name(self):
        body = {"model": "model", "input": "hello", "max_output_tokens": 2}
        for more in ({"store": False}, {"tool_choice": "none"}, {"tools": []}, {"truncation": "disabled"}, {"metadata": {}},
                     {"user": "u"}, {"text": {"verbosity": "medium"}}, {"parallel_tool_calls": False}, {"include": []},
                     {"reasoning": {}}, {"temperature": 0.5, "top_p": 0.9}, {"service_tier": "priority"}, {"priority": 5}, {"presence_penalty": 0}):
            self.post("/v1/responses", {**body, **more}, 400 if "presence_penalty" in more else 200)
        for more in ({"background": True}, {"conversation": "c"}, {"include": ["message.output_text.logprobs"]},
                     {"max_tool_calls": 2}, {"previous_response_id": "r"}, {"prompt": {"id": "p"}}, {"store": True},
                     {"reasoning": {"effort": "low"}}, {"service_tier": "scale"}, {"tool_choice": "auto"}, {"tools": [{}]},
                     {"top_logprobs": 2}, {"truncation": "auto"}, {"text": {"verbosity": "low"}}, {"stop": "x"}):
            name = "verbosity" if "text" in more else list(more)[0]
            self.assertIn(name, self.post("/v1/responses", {**body, **more}, 400)["error"]["message"])

    def test_logprobs_belong_to_the_text(self):
        ask = {"logprobs": True, "top_logprobs": 3, "max_tokens": 8}
        whole = self.chat(**ask)["choices"][0]
        tokens = whole["logprobs"]["content"]
        joined = b"".join(bytes(one["bytes"]) for one in tokens)
        self.assertEqual(joined.decode(errors="replace"), whole["message"]["content"])
        for one in tokens:
            best = one["top_logprobs"]
            self.assertEqual(len(best), 3)
            self.assertEqual((best[0]["token"], best[0]["logprob"]), (one["token"], one["logprob"]))  # greedy
            self.assertLessEqual(sum(math.exp(other["logprob"]) for other in best), 1.000001)
            self.assertEqual(one["token"], bytes(one["bytes"]).decode(errors="replace"))
        streamed = [one for event in self.chat(stream=True, **ask)[:-1] for choice in event["choices"]
                    for one in (choice["logprobs"] or {"content": []})["content"]]
        self.assertEqual(streamed, tokens)
        self.assertIsNone(self.chat()["choices"][0]["logprobs"])
        # A stop text takes its tokens away; what a form leaves no choice about is certain.
        text = whole["message"]["content"]
        cut = self.chat(stop=text[2:4], **ask)["choices"][0]
        left = b"".join(bytes(one["bytes"]) for one in cut["logprobs"]["content"]).decode(errors="replace")
        self.assertTrue(left.startswith(cut["message"]["content"]) and len(left) < len(text), (left, cut))
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": {"certain": True}}}}
        sure = self.chat(response_format=form, logprobs=True, max_tokens=40)["choices"][0]["logprobs"]["content"]
        self.assertTrue(all(one["logprob"] == 0 for one in sure[:-1]), sure)

    def test_penalties_reach_the_sampler(self):
        plain = self.chat(max_tokens=40)["choices"][0]["message"]["content"]
        self.assertNotEqual(self.chat(max_tokens=40, frequency_penalty=2, presence_penalty=2)["choices"][0]["message"]["content"],
                            plain)

    def test_models(self):
        self.assertEqual(json.loads(self.get("/v1/models"))["data"][0]["id"], "model")
        self.assertEqual(json.loads(self.get("/v1/models/model"))["object"], "model")
        self.get("/v1/models/none", 404)

    def test_responses(self):
        body = {"model": "model", "input": "hello", "max_output_tokens": 6, "instructions": "Be brief."}
        whole = self.post("/v1/responses", body)
        self.assertEqual(whole["object"], "response")
        self.assertIn(whole["status"], ("completed", "incomplete"))
        text = whole["output"][0]["content"][0]["text"]
        events = self.post("/v1/responses", {**body, "stream": True})
        self.assertEqual([event["sequence_number"] for event in events], list(range(len(events))))
        self.assertEqual(events[0]["type"], "response.created")
        self.assertIn(events[-1]["type"], ("response.completed", "response.incomplete"))
        self.assertEqual("".join(e["delta"] for e in events if e["type"] == "response.output_text.delta"), text)
        content = [{"type": "input_text", "text": "What?"},
                   {"type": "input_image", "image_url": "data:image/png;base64," + self.picture()}]
        form = {"format": {"type": "json_schema", "name": "p", "schema": PERSON, "strict": True}}
        answer = self.post("/v1/responses", {"model": "model", "input": [{"role": "user", "content": content}],
                                             "text": form, "max_output_tokens": 300})
        if answer["status"] == "completed":
            json.loads(answer["output"][0]["content"][0]["text"])
        for more in ({"previous_response_id": "x"}, {"tools": [{}]}, {"background": True}, {"inptu": 1}, {"input": []}):
            self.post("/v1/responses", {**body, **more}, 400)


class Rest(common.Server):
    def test_health_metrics_and_the_page(self):
        self.assertEqual(json.loads(self.get("/health")), {"status": "ok"})
        self.assertEqual(json.loads(self.get("/ready"))["status"], "ready")
        status, headers, page = self.send("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn(b"escriba", page)
        self.assertNotRegex(page.decode(), r"(src|href)=\"http")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.post("/api/generate", {"prompt": "x", "options": {"num_predict": 3}})
        text = self.get("/metrics").decode()
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) escriba_\w+ .+|escriba_\w+(\{[^}]*\})? [-+0-9.einfa]+)$")
        self.assertEqual(self.metric("generated_tokens_total"), 3)
        self.assertEqual(json.loads(self.get("/status"))["answered"], 1)
        self.assertEqual(self.send("DELETE", "/health")[0], 405)
        self.assertEqual(self.send("GET", "/nowhere")[0], 404)


class Pull(common.Server):
    """A model fetched by request, from a small hub on loopback."""

    @classmethod
    def launch(cls, *flags, env=None):
        script = os.path.join(common.ROOT, "tests", "hub", "hub_server.py")
        cls.hub = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.endpoint = "http://127.0.0.1:" + cls.hub.stdout.readline().split()[0]
        return super().launch("--allow-pull", *flags,
                              env={"HF_HUB_CACHE": os.path.join(cls.dir, "cache"), "HF_ENDPOINT": cls.endpoint,
                                   "NO_PROXY": "*", "no_proxy": "*"})

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.hub.stdin.close()
        cls.hub.wait(common.TIMEOUT)
        cls.hub.stdout.close()

    def faults(self, settings):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(self.endpoint + "/_set?" + settings, timeout=common.TIMEOUT).read()

    def test_progress_is_told_line_by_line(self):
        self.faults("rate=3000000")
        lines = self.post("/api/pull", {"model": "test-org/Tiny-VL"})
        self.assertEqual(lines[-1], {"status": "success"})
        parts = [line for line in lines if "model.safetensors" in line["status"]]
        self.assertGreater(len(parts), 0, lines)
        for line in parts:
            self.assertLessEqual(line["completed"], line["total"])
            self.assertGreater(line["total"], 3 << 20)
        self.assertEqual([line["completed"] for line in parts], sorted(line["completed"] for line in parts))
        self.assertIn("test-org/Tiny-VL", [model["name"] for model in json.loads(self.get("/api/tags"))["models"]])
        self.assertEqual(self.post("/api/pull", {"model": "test-org/Tiny-VL", "stream": False}), {"status": "success"})

    def test_what_goes_wrong_is_told_too(self):
        self.faults("")
        self.assertIn("error", self.post("/api/pull", {"model": "test-org/none", "stream": False}, 500))
        self.assertIn("error", self.post("/api/pull", {"model": "test-org/none"})[-1])


if __name__ == "__main__":
    common.main()
