"""The page at / in a real headless browser: a picture dropped, described, stopped; keys; light and dark.

Skipped where no Chromium is installed. With ESCRIBA_SCREENSHOTS=DIRECTORY it leaves pictures of what it saw.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import common

BROWSER = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)


class Browser:
    """Chrome's own protocol over a pair of pipes: messages of JSON, each ended by a NUL."""

    def __init__(self, folder):
        to_read, self.to = os.pipe()
        self.out, from_write = os.pipe()
        high = max(to_read, self.to, self.out, from_write) + 10  # out of the way of 3 and 4

        def place():
            os.dup2(to_read, high)
            os.dup2(from_write, high + 1)
            os.dup2(high, 3)
            os.dup2(high + 1, 4)

        self.process = subprocess.Popen(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             "--user-data-dir=" + os.path.join(folder, "profile"), "--window-size=1000,900", "about:blank"],
            preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.buffer, self.number, self.errors, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                block = os.read(self.out, 1 << 20)
                if not block:
                    raise EOFError("the browser ended")
                self.buffer += block
            line, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("method") == "Runtime.exceptionThrown" or (
                    answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error"):
                self.errors.append(answer["params"])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def key(self, name, code, **more):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **more)

    def shoot(self, name):
        folder = os.environ.get("ESCRIBA_SCREENSHOTS")
        if folder:
            data = self.call("Page.captureScreenshot", format="png")["data"]
            with open(os.path.join(folder, name + ".png"), "wb") as file:
                file.write(base64.b64decode(data))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.out)


@unittest.skipUnless(BROWSER, "no Chromium is installed")
class Page(common.Server):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="escriba-page-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.browser = Browser(self.folder)
        self.addCleanup(self.browser.close)
        self.browser.call("Page.navigate", url="http://127.0.0.1:%d/" % self.process.port)
        self.until("document.readyState === 'complete' && document.querySelectorAll('#models tr').length > 0")

    def until(self, condition):
        self.wait_for(lambda: self.browser.run("Boolean(%s)" % condition))

    def drop(self, i):
        self.browser.run("""(() => {
            const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0)), transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "frame.png", { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        })()""" % self.picture(i))
        self.until("document.querySelector('#drop img')?.complete")

    def test_a_dropped_picture_is_described_stopped_and_the_numbers_move(self):
        b = self.browser
        self.assertEqual(b.run("document.getElementById('model').value"), "model")
        b.shoot("empty")
        self.drop(0)
        self.assertGreater(b.run("document.querySelector('#drop img').naturalWidth"), 0)
        b.run("document.getElementById('go').click()")
        self.until("document.getElementById('said').textContent.includes('tokens in')")
        self.assertGreater(b.run("document.getElementById('answer').textContent.length"), 0)
        self.until("Number(document.getElementById('answered').textContent) >= 1")
        self.until("document.getElementById('loaded').textContent === 'model'")
        b.shoot("light")
        # Stopped before the first word, then, by the page's own eyes, after it: nothing here depends on who is faster.
        self.assertEqual(b.run("document.getElementById('go').click(); const stop = document.getElementById('stop');"
                               "const waits = stop.disabled; stop.click(); waits"), False)
        self.until("document.getElementById('said').textContent === 'Stopped.' && !document.getElementById('go').disabled")
        b.run("""new MutationObserver((all, self) => {
            if (document.getElementById('answer').textContent) { document.getElementById('stop').click(); self.disconnect(); }
        }).observe(document.getElementById('answer'), { childList: true, characterData: true, subtree: true });
        document.getElementById('prompt').value = 'Another question, not asked before.';
        document.getElementById('go').click();""")
        self.until("document.getElementById('said').textContent === 'Stopped.' && !document.getElementById('go').disabled")
        self.assertGreater(b.run("document.getElementById('answer').textContent.length"), 0)
        self.assertEqual(b.errors, [])

    def test_it_is_usable_by_keyboard_and_dark(self):
        b = self.browser
        b.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        seen = []
        for _ in range(5):
            b.key("Tab", 9)
            seen.append(b.run("document.activeElement.id"))
        self.assertEqual(seen[:4], ["drop", "prompt", "model", "go"])
        light = b.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).every(n => n < 80)")
        self.assertTrue(light)
        b.run("document.getElementById('prompt').focus()")
        b.run("document.getElementById('prompt').value = 'hello'")
        b.key("Enter", 13, modifiers=2)
        self.until("document.getElementById('said').textContent.includes('tokens in')")
        b.shoot("dark")
        b.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true }));"
              "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
        self.until("document.getElementById('said').textContent === 'Stopped.'")
        self.assertEqual(b.errors, [])


if __name__ == "__main__":
    common.main()
