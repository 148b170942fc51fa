#!/usr/bin/env python3
"""escriba run, sessions, show, export, search and forget: a recording to a card, as users do it."""

import csv
import html.parser
import http.server
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time

import common
from common import Case, ROOT, main, png

common.TIMEOUT = 300  # a recording is many frames, and the machine may be busy

RECORDING = os.path.join(ROOT, "samples", "recording.mp4")
SAMPLE = os.path.join(ROOT, "tests", "cli", "small.mp4")  # the same, 192 x 108 at 4 frames a second
FRAMES = 15  # 0, 10 .. 130 of 130.2 s, and the change to the browser at 92.5 s


class Run(Case):
    frames = 8
    words = ["--skip-summary"]  # a random model's are no use

    def setUp(self):
        self.store = self.path("store-%s.db" % self.id().split(".")[-1])

    def arguments(self, *args):
        return ["run", "--model", self.model, "--max-tokens", "8", "--max-pixels", "65536", "--store", self.store,
                *self.words, *args]

    def go(self, *args, **how):
        return self.run_escriba(*self.arguments(*args), **how)

    def start(self, *args):
        return subprocess.Popen([self.program(), *self.arguments(*args)], env=self.environment(), cwd=self.dir,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def program():
        return common.ESCRIBA

    def rows(self, sql):
        with sqlite3.connect(self.store) as db:
            return db.execute(sql).fetchall()

    def observations(self):
        """(ms, description, reused) of the store, each once."""
        rows = self.rows("SELECT at_ms, description, reused_from IS NOT NULL FROM observations o"
                         " JOIN frames f ON f.id = o.frame ORDER BY at_ms")
        self.assertEqual(len(rows), len({row[0] for row in rows}), rows)
        return rows

    def wait_for_observations(self, count):
        end = time.time() + common.TIMEOUT
        while time.time() < end:
            try:
                if self.rows("SELECT count(*) FROM observations")[0][0] >= count:
                    return
            except sqlite3.OperationalError:
                pass  # not made yet, or busy
            time.sleep(0.005)
        self.fail("the store never held %d observations" % count)


class Forms(Run):
    def test_the_sample_recording_becomes_a_card_in_every_form(self):
        self.go(RECORDING, "--quiet", "--format", "all", "--output", self.path("forms"))
        made = sorted(os.listdir(self.path("forms")))
        self.assertEqual(made, ["recording.card.md", "recording.html", "recording.json", "recording.narrative.md",
                                "recording.standup.md"])
        for name in made:
            self.assertEqual(stat.S_IMODE(os.stat(self.path("forms", name)).st_mode), 0o600)
        with open(self.path("forms", "recording.json"), encoding="utf-8") as file:
            told = json.load(file)
        self.assertAlmostEqual(told["seconds"], 130.2, places=1)
        self.assertAlmostEqual(sum(b["end"] - b["start"] for b in told["blocks"]), 130.2, places=1)
        self.assertEqual(len(told["observations"]), FRAMES)
        self.assertEqual([o["timestamp"] for o in told["observations"] if o["timestamp"] % 10], [92.5])
        with open(self.path("forms", "recording.html"), encoding="utf-8") as file:
            page = file.read()
        html.parser.HTMLParser().feed(page)
        self.assertIn("data:image/jpeg;base64,", page)
        self.assertEqual(page.count("<script"), 1)

    def test_a_second_run_decodes_and_describes_nothing(self):
        first = self.go(SAMPLE)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("%d frames" % FRAMES, first.stderr.splitlines()[-1])
        shutil.rmtree(self.path("gone"), ignore_errors=True)
        second = self.go(SAMPLE)
        self.assertEqual(second.stdout, first.stdout)
        self.assertEqual(second.stderr, "")
        forced = self.go(SAMPLE, "--force")
        self.assertEqual(forced.stdout, first.stdout)
        self.assertIn("0 known before", forced.stderr)

    def test_other_settings_of_the_model_are_another_session_of_the_same_recording(self):
        self.go(SAMPLE, "--quiet", "--interval", "60", "--scene-threshold", "0")
        self.go(SAMPLE, "--quiet", "--interval", "60", "--scene-threshold", "0", "--temperature", "0.9")
        self.assertEqual(self.rows("SELECT count(*) FROM recordings"), [(1,)])
        self.assertEqual(self.rows("SELECT count(DISTINCT method) FROM observations"), [(2,)])
        coarse = len(self.observations_of_first_method())
        self.go(SAMPLE, "--quiet")  # a finer interval takes over what is there
        self.assertEqual(coarse, 3)
        self.assertEqual(len(self.observations_of_first_method()), FRAMES)

    def observations_of_first_method(self):
        return self.rows("SELECT frame FROM observations WHERE method = 1")

    def test_progress_is_json_for_programs_and_silence_when_asked(self):
        result = self.go(SAMPLE, "--json-progress", "--interval", "30")
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        self.assertGreater(len(lines), 0)
        last = lines[-1]
        self.assertEqual(last["done"], last["described"] + last["reused"] + last["before"] + last["failed"])
        self.assertGreaterEqual(last["total"], last["done"])
        self.assertEqual(self.go(SAMPLE, "--quiet", "--force", "--interval", "30").stderr, "")

    def test_the_text_goes_to_the_clipboard_when_asked(self):
        os.makedirs(self.path("bin"), exist_ok=True)
        self.write("bin/wl-copy", "#!/bin/sh\ncat > \"%s\"\n" % self.path("clipboard"))
        os.chmod(self.path("bin/wl-copy"), 0o755)
        path = {"PATH": self.path("bin") + ":" + os.environ["PATH"]}
        card = self.go(SAMPLE, "--quiet", "--interval", "60", "--copy", env=path).stdout
        with open(self.path("clipboard"), encoding="utf-8") as file:
            self.assertEqual(file.read(), card)
        page = self.go(SAMPLE, "--quiet", "--interval", "60", "--format", "html", "--stdout").stdout
        self.assertTrue(page.startswith("<!doctype html>"))
        self.one_line(self.go(SAMPLE, "--quiet", "--interval", "60", "--copy", env={"PATH": "/nowhere"}), 1, "clipboard")

    def test_a_gap_fill_that_makes_no_sense_is_wrong_usage(self):
        self.one_line(self.go(SAMPLE, "--gap-fill", "-1"), 2, "--gap-fill")
        self.one_line(self.go(SAMPLE, "--gap-threshold", "soon"), 2, "--gap-threshold")
        self.one_line(self.go(SAMPLE, "--stdout", "--output", "x"), 2, "--stdout")
        self.one_line(self.go(SAMPLE, "--windows", "x"), 2, "--windows")

    def test_a_long_interval_is_filled_when_asked(self):
        self.go(SAMPLE, "--quiet", "--interval", "60", "--gap-threshold", "15", "--gap-fill", "12")
        times = [row[0] for row in self.observations()]
        self.assertTrue(set(times) >= {0, 60000, 120000})
        self.assertTrue(set(times) <= {i * 12000 for i in range(11)}, times)
        self.assertGreater(len(times), 5)

    def test_the_store_is_private(self):
        self.go(SAMPLE, "--quiet", "--interval", "100")
        self.assertEqual(stat.S_IMODE(os.stat(self.store).st_mode), 0o600)
        holder = sqlite3.connect(self.store)  # the log stays while somebody reads
        holder.execute("SELECT count(*) FROM frames").fetchone()
        os.chmod(self.store, 0o644)
        self.go(SAMPLE, "--quiet", "--interval", "50")
        for name in os.listdir(self.dir):
            if name.startswith(os.path.basename(self.store)):
                self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode) & 0o77, 0, name)
        holder.close()

    def test_the_newest_recording_of_a_directory_is_found(self):
        os.mkdir(self.path("many"))
        shutil.copy(SAMPLE, self.path("many", "new.mp4"))
        self.write("many/old.mkv", b"x")
        os.utime(self.path("many", "old.mkv"), (1, 1))
        self.write("many/newest.txt", b"x")
        result = self.go("--latest", self.path("many"), "--interval", "100", "--quiet")
        self.assertTrue(result.stdout.startswith("# new.mp4"), result.stdout)
        os.mkdir(self.path("none"))
        self.one_line(self.go("--latest", self.path("none")), 1, "no recording")


class Box(Run):
    """The model in the box on the sample recording, as a person would run it."""

    words = []
    tolerance = 10  # seconds: one interval
    boundaries, time = 0.8, 0.7  # least shares that are told right: of a small model, whose weights change

    def test_the_card_of_the_sample_recording_follows_its_script(self):
        self.model = os.environ.get("ESCRIBA_BOX_MODEL") or os.path.join(ROOT, "models", "escriba-tiny")
        with open(os.path.join(ROOT, "samples", "script.json"), encoding="utf-8") as file:
            script = json.load(file)["segments"]
        result = self.run_escriba("run", RECORDING, "--model", self.model, "--store", self.store, "--quiet",
                                  "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        told = json.loads(result.stdout)
        print("\n" + "\n".join("%5.1f-%5.1f %s" % (b["start"], b["end"], b["activity"]) for b in told["blocks"]))
        true, said = [p["start"] for p in script[1:]], [b["start"] for b in told["blocks"][1:]]
        found = sum(any(abs(t - s) < self.tolerance for s in said) for t in true)
        self.assertGreaterEqual(found / len(true), self.boundaries, (true, said))
        right = sum(max(0, min(b["end"], p["end"]) - max(b["start"], p["start"]))
                    for b in told["blocks"] for p in script if b["activity"] == p["activity"])
        self.assertGreaterEqual(right / script[-1]["end"], self.time)
        self.assertAlmostEqual(sum(subject["seconds"] for subject in told["subjects"]), told["seconds"], places=1)
        self.samples_between_blocks_change_no_other_sample(told)

    def samples_between_blocks_change_no_other_sample(self, told):
        without = json.loads(self.run_escriba(
            "run", RECORDING, "--model", self.model, "--store", self.path("unfilled.db"), "--quiet", "--gap-fill", "0",
            "--format", "json").stdout)["observations"]
        times = {o["timestamp"]: o for o in told["observations"]}
        for one in without:
            self.assertEqual(times[one["timestamp"]]["description"], one["description"])
        between = sorted(set(times) - {o["timestamp"] for o in without})
        self.assertTrue(between and len(between) <= 3 * 12, between)
        starts = [block["start"] for block in told["blocks"]]
        self.assertTrue(any(at in between for at in starts), (starts, between))


class Directories(Run):
    def test_a_directory_of_screenshots_is_a_recording(self):
        result = self.go(self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([row[0] for row in self.observations()], [i * 10000 for i in range(self.frames)])
        self.assertEqual(self.go(self.folder).stderr.count("known before"), 1)

    def test_a_bad_picture_costs_nothing_but_itself(self):
        os.mkdir(self.path("bad"))
        for i in range(4):
            self.write("bad/2026-11-23_10-15-%02d.png" % (i * 10), png(seed=i) if i != 2 else b"no picture")
        result = self.go(self.path("bad"), "--quiet")
        self.assertEqual(result.returncode, 1)
        self.assertIn("1 frames failed", result.stderr)
        self.assertIn("could not be described", result.stdout)
        self.assertEqual([row[0] for row in self.observations()], [0, 10000, 30000])
        self.write("bad/2026-11-23_10-15-20.png", png(seed=2))
        self.assertEqual(self.go(self.path("bad"), "--quiet").returncode, 0)
        self.assertEqual(len(self.observations()), 4)

    def test_equal_screens_are_described_once(self):
        os.mkdir(self.path("equal"))
        for i in range(6):
            self.write("equal/frame_%04ds.png" % (i * 10), png(seed=1 if i < 4 else 2))
        self.go(self.path("equal"), "--quiet")
        self.assertEqual([row[2] for row in self.observations()], [0, 1, 1, 1, 0, 1])
        self.go(self.path("equal"), "--quiet", "--force", "--no-reuse")
        self.assertEqual([row[2] for row in self.observations()], [0] * 6)

    def make_shots(self, name, count):
        os.mkdir(self.path(name))
        for i in range(count):
            self.write("%s/2026-11-23_10-15-%02d.png" % (name, i * 10), png(seed=i))

    def test_a_recorder_that_deletes_its_oldest_pictures_moves_nothing(self):
        self.make_shots("rolling", 5)
        self.go(self.path("rolling"), "--quiet")
        before = self.observations()
        os.remove(self.path("rolling/2026-11-23_10-15-00.png"))
        result = self.go(self.path("rolling"))
        self.assertIn("0 described", result.stderr)
        self.assertEqual(self.observations(), before)
        self.write("rolling/2026-11-23_10-14-50.png", png(seed=9))  # older than all
        self.assertIn("1 described", self.go(self.path("rolling")).stderr)
        self.assertEqual([row[0] for row in self.observations()], [i * 10000 for i in range(6)])
        self.assertEqual([row[1] for row in self.observations()][1:], [row[1] for row in before])

    def test_a_picture_replaced_under_its_name_is_described_anew(self):
        self.make_shots("replaced", 4)
        self.go(self.path("replaced"), "--quiet")
        before = self.observations()
        self.write("replaced/2026-11-23_10-15-20.png", png(seed=77))
        self.assertIn("1 described, 0 unchanged, 3 known before", self.go(self.path("replaced")).stderr)
        os.utime(self.path("replaced/2026-11-23_10-15-10.png"), (5, 5))  # touched only
        self.assertIn("0 described", self.go(self.path("replaced")).stderr)
        self.assertEqual([row[1] for row in self.observations()][:2], [row[1] for row in before][:2])

    def test_titles_and_apps_redact_what_an_earlier_run_kept_of_a_directory(self):
        self.make_shots("titles", 3)
        os.rename(self.path("titles/2026-11-23_10-15-10.png"), self.path("titles/2026-11-23_10-15-10 My Bank.png"))
        self.go(self.path("titles"), "--quiet")
        self.assertEqual(len(self.observations()), 3)
        result = self.go(self.path("titles"), "--redact", "title:*bank*")
        self.assertIn("1 frames were not looked at, 1 not kept", result.stderr)
        self.assertEqual([row[0] for row in self.observations()], [0, 20000])

    def test_odd_names_and_links_are_recordings_too(self):
        name = b"odd \x1b[31m\xff name.mp4"
        shutil.copy(SAMPLE, os.path.join(os.fsencode(self.dir), name))
        os.symlink(SAMPLE, self.path("link.mp4"))
        for recording in (os.fsdecode(name), self.path("link.mp4")):
            result = self.go(recording, "--interval", "60", "--quiet")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("\x1b", result.stdout)
        listed = self.run_escriba("sessions", "--store", self.store).stdout
        self.assertNotIn("\x1b", listed)
        self.assertIn(SAMPLE, listed)  # what a link leads to

    def test_a_followed_directory_ends_with_a_card(self):
        os.mkdir(self.path("watch"))
        self.write("watch/frame_0000s.png", png(seed=0))
        process = self.start(self.path("watch"), "--follow", "--quiet")
        self.wait_for_observations(1)
        self.write("watch/part.tmp", png(seed=1))
        os.rename(self.path("watch/part.tmp"), self.path("watch/frame_0010s.png"))
        self.wait_for_observations(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=common.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.assertTrue(out.startswith("# watch"), out)
        self.assertEqual(len(self.observations()), 2)


class Interrupted(Run):
    def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(self):
        process = self.start(SAMPLE, "--quiet", "--batch", "1")
        self.wait_for_observations(2)
        code, err = self.stop(process)
        if code == 0:
            self.skipTest("it was done before the signal came")
        self.assertEqual(code, 130, err)
        kept = len(self.observations())
        self.assertIn("%d frames are kept" % kept, err)
        result = self.go(SAMPLE)
        self.assertIn("%d known before" % kept, result.stderr)
        self.assertEqual(len(self.observations()), FRAMES)

    def test_killed_at_any_moment_it_goes_on_to_the_same_session(self):
        whole = self.go(SAMPLE, "--quiet", "--format", "json").stdout
        os.rename(self.store, self.path("whole.db"))
        for left in ("-wal", "-shm"):
            if os.path.exists(self.store + left):
                os.remove(self.store + left)
        dice = random.Random(7)
        kills = int(os.environ.get("ESCRIBA_KILLS", "6"))
        for _ in range(kills):
            process = self.start(SAMPLE, "--quiet", "--format", "json", "--batch", "2")
            try:
                process.wait(timeout=dice.uniform(0.02, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        self.assertEqual(self.go(SAMPLE, "--quiet", "--format", "json").stdout, whole)
        self.assertEqual(len(self.observations()), FRAMES)
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows("SELECT count(*) FROM claims"), [(0,)])

    def test_two_at_once_share_the_work(self):
        pair = [self.start(SAMPLE, "--quiet") for _ in range(2)]
        texts = [process.communicate(timeout=common.TIMEOUT) for process in pair]
        self.assertEqual([process.returncode for process in pair], [0, 0], texts)
        self.assertEqual(texts[0][0], texts[1][0])
        self.assertEqual(len(self.observations()), FRAMES)


class Refused(Run):
    def test_what_is_no_recording_is_one_line(self):
        self.write("empty.mp4", b"")
        self.write("text.mp4", b"hello " * 1000)
        with open(SAMPLE, "rb") as file:
            data = file.read()
        self.write("cut.mp4", data[: len(data) // 2])
        self.one_line(self.go(self.path("empty.mp4")), 1, "empty")
        self.one_line(self.go(self.path("text.mp4")), 1, "whole video")
        self.one_line(self.go(self.path("none.mp4")), 1, "No such file")
        os.mkdir(self.path("nothing"))
        self.one_line(self.go(self.path("nothing")), 1, "no pictures")
        self.one_line(self.go(SAMPLE, "--follow"), 2, "only a directory")
        self.one_line(self.go(), 2, "which recording")
        self.one_line(self.go("a", "b"), 2, "one recording")
        self.one_line(self.go(SAMPLE, "--format", "pdf"), 2, "pdf")
        self.one_line(self.go(SAMPLE, "--interval", "0"), 2, "--interval")
        self.assertFalse(os.path.exists(self.store) and self.rows("SELECT * FROM recordings"))
        cut = self.go(self.path("cut.mp4"), "--quiet")  # its index may come first or last
        self.assertIn(cut.returncode, (0, 1))
        if cut.returncode == 0:
            self.assertIn("breaks off", cut.stdout)
        else:
            self.assertEqual(len(cut.stderr.splitlines()), 1)

    def test_a_damaged_or_foreign_store_is_refused_and_not_touched(self):
        self.write(os.path.basename(self.store), b"not a database at all, but long enough to look at" * 100)
        with open(self.store, "rb") as file:
            before = file.read()
        self.one_line(self.go(SAMPLE), 1, "store")
        with open(self.store, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_a_store_that_stays_locked_is_one_line(self):
        self.go(SAMPLE, "--quiet", "--interval", "60")
        holder = sqlite3.connect(self.store)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            self.one_line(self.go(SAMPLE, "--quiet", "--interval", "30"), 1, "locked")
        finally:
            holder.close()
        self.assertEqual(self.go(SAMPLE, "--quiet", "--interval", "30").returncode, 0)

    def test_frames_that_leave_the_machine_are_told_of(self):
        for endpoint, told in (("http://127.0.0.1.example.invalid:9/v1", True), ("http://127.0.0.1:9/v1", False)):
            result = self.run_escriba("run", SAMPLE, "--backend", "openai", "--endpoint", endpoint, "--model", "x",
                                      "--store", self.store, "--interval", "100", "--timeout", "1", "--skip-summary")
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual("frames go to openai at " + endpoint in result.stderr, told, result.stderr)

    def test_a_full_disk_is_one_line_and_what_is_kept_is_gone_on_with(self):
        self.go(SAMPLE, "--quiet", "--interval", "60", "--scene-threshold", "0")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(self.store), os.path.getsize(self.store)))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        full = subprocess.run([self.program(), *self.arguments(SAMPLE, "--quiet")], env=self.environment(),
                              cwd=self.dir, capture_output=True, text=True, timeout=common.TIMEOUT, preexec_fn=limit)
        self.assertEqual(full.returncode, 1)
        self.assertEqual(len(full.stderr.splitlines()), 1, full.stderr)
        result = self.go(SAMPLE, "--quiet")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(self.observations()), FRAMES)


class Redacted(Run):
    def test_what_the_rules_name_is_not_looked_at_and_taken_out_where_it_was(self):
        self.go(SAMPLE, "--quiet")
        result = self.go(SAMPLE, "--redact", "time:0:20-0:45")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("3 frames were not looked at, 3 not kept", result.stderr)
        self.assertFalse([row for row in self.observations() if 20000 <= row[0] < 45000])
        self.assertEqual(len(self.observations()), FRAMES - 3)
        found = self.rows("SELECT count(*) FROM found")[0][0]
        self.assertEqual(found, FRAMES - 3)
        self.go(SAMPLE, "--quiet")  # without the rule, they are described again
        self.assertEqual(len(self.observations()), FRAMES)

    def test_a_log_of_windows_beside_the_recording_is_used(self):
        recording = self.path("logged.mp4")
        shutil.copy(SAMPLE, recording)
        self.write("logged.mp4.windows.jsonl", '{"timestamp": 0, "app": "Vim"}\n{"timestamp": 24.3, "app": "Terminal"}\n')
        result = self.go(recording, "--redact", "app:vim")
        self.assertIn("3 frames were not looked at", result.stderr)
        self.assertEqual(self.observations()[0][0], 30000)
        self.one_line(self.go(recording, "--redact", "vim"), 2, "--redact vim")
        self.one_line(self.go(recording, "--redact", "app:x", "--windows", self.path("none")), 1, "none")


class Writer(http.server.BaseHTTPRequestHandler):
    """An OpenAI-like server that groups all blocks it is told of into one subject, or talks nonsense."""

    nonsense = False
    asked = []

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        Writer.asked.append(text)
        blocks = [int(n) for n in re.findall(r"^Block (\d+),", text, re.M)]
        answer = "It was a nice day." if Writer.nonsense else json.dumps(
            {"subjects": [{"name": "One *thing*", "blocks": blocks, "summary": "It was done."}]})
        if body.get("stream"):
            piece = json.dumps({"choices": [{"index": 0, "delta": {"content": answer}, "finish_reason": "stop"}]})
            data, kind = "data: %s\n\ndata: [DONE]\n\n" % piece, "text/event-stream"
        else:
            data, kind = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {
                "role": "assistant", "content": answer}}]}), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())

    def do_GET(self):
        data = b'{"object": "list", "data": [{"id": "writer", "object": "model"}]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Summaries(Run):
    words = []

    def setUp(self):
        super().setUp()
        Writer.asked, Writer.nonsense = [], False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Writer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.llm = {"ESCRIBANO_LLM_BACKEND": "openai", "ESCRIBANO_LLM_MODEL": "writer",
                    "OPENAI_BASE_URL": "http://127.0.0.1:%d/v1" % self.server.server_port}

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def test_a_language_model_names_the_subjects_once(self):
        result = self.go(SAMPLE, "--quiet", env=self.llm)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("## One \\*thing\\* · 2 min 10 s\n\n", result.stdout)
        self.assertIn("\nIt was done.\n", result.stdout)
        self.assertEqual(len(Writer.asked), 1)
        self.assertEqual(self.go(SAMPLE, "--quiet", env=self.llm).stdout, result.stdout)
        self.assertEqual(self.run_escriba("show", "--store", self.store).stdout, result.stdout)
        self.assertEqual(len(Writer.asked), 1)
        plain = self.go(SAMPLE, "--quiet", "--skip-summary", env=self.llm)
        self.assertNotIn("thing", plain.stdout)

    def test_nonsense_costs_the_summary_only_and_is_told(self):
        Writer.nonsense = True
        result = self.go(SAMPLE, "--quiet", env=self.llm)
        self.one_line(result, 0, "own grouping", "no JSON")
        self.assertIn("*The subjects are escriba's own grouping:", result.stdout)
        self.assertIn("## ", result.stdout)


class Sessions(Run):
    def test_the_card_follows_the_script_of_the_recording_when_the_frames_are_told_right(self):
        with open(os.path.join(ROOT, "samples", "script.json"), encoding="utf-8") as file:
            script = json.load(file)["segments"]
        self.go(RECORDING, "--quiet")
        with sqlite3.connect(self.store) as db:
            for number, at in db.execute("SELECT o.id, at_ms FROM observations o JOIN frames f ON f.id = frame").fetchall():
                now = [part for part in script if part["start"] * 1000 <= at][-1]
                db.execute("UPDATE observations SET activity = ?, description = ?, apps = ?, topics = ? WHERE id = ?",
                           (now["activity"], now["description"], json.dumps(now["apps"]), json.dumps(now["topics"]),
                            number))
        told = json.loads(self.run_escriba("show", "--format", "json", "--store", self.store).stdout)["blocks"]
        self.assertEqual([block["activity"] for block in told], [part["activity"] for part in script])
        for block, part in zip(told, script):
            self.assertLess(abs(block["start"] - part["start"]), 10)
            self.assertLess(abs(block["end"] - part["end"]), 10)
            self.assertEqual(block["highlights"], [part["description"]])

    def test_sessions_are_listed_shown_exported_searched_and_forgotten(self):
        self.assertIn("no session yet", self.run_escriba("sessions", "--store", self.store).stdout)
        self.one_line(self.run_escriba("show", "--store", self.store), 2, "no session yet")
        card = self.go(SAMPLE, "--quiet").stdout
        self.go(self.folder, "--quiet")
        listed = [json.loads(line) for line in
                  self.run_escriba("sessions", "--json", "--store", self.store).stdout.splitlines()]
        self.assertEqual([one["id"] for one in listed], [2, 1])
        self.assertEqual(listed[1]["observations"], FRAMES)
        for which in ("1", SAMPLE, "small.mp4"):
            self.assertEqual(self.run_escriba("show", which, "--store", self.store).stdout, card)
        lines = self.run_escriba("export", "1", "--store", self.store).stdout.splitlines()
        self.assertEqual(len([json.loads(line) for line in lines]), FRAMES)
        table = list(csv.reader(io.StringIO(
            self.run_escriba("export", "1", "--format", "csv", "--store", self.store).stdout)))
        self.assertEqual(len(table), FRAMES + 1)
        self.assertEqual({len(row) for row in table}, {6})
        self.one_line(self.run_escriba("search", "xyzzyx", "--store", self.store), 1, "nothing")
        self.one_line(self.run_escriba("show", "99", "--store", self.store), 2, "no session 99")
        self.one_line(self.run_escriba("forget", "--store", self.store), 2, "which session")
        self.assertEqual(self.run_escriba("forget", "1", "--store", self.store).returncode, 0)
        self.one_line(self.run_escriba("show", "small.mp4", "--store", self.store), 2, "no session")
        self.run_escriba("forget", "--all", "--store", self.store)
        self.assertEqual(self.rows("SELECT count(*) FROM frames"), [(0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM observations"), [(0,)])

    def test_words_are_found_again(self):
        self.go(SAMPLE, "--quiet")
        word = "searchable"
        with sqlite3.connect(self.store) as db:  # a random model says no words
            db.execute("UPDATE observations SET description = 'Something searchable' WHERE id = 3")
            db.execute("INSERT INTO found (found) VALUES ('rebuild')")
        hits = self.run_escriba("search", "something", word[:6], "--json", "--limit", "3", "--store", self.store).stdout.splitlines()
        self.assertEqual(len(hits), 1)
        self.assertIn(word, json.loads(hits[0])["description"])


if __name__ == "__main__":
    main()
