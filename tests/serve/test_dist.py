"""What is shipped around the program: man page, completions, units for systemd and launchd, the container file.

Tools that are not here (groff, systemd-analyze, fish, zsh, bash) leave their part out.
"""

import os
import plistlib
import re
import shutil
import subprocess
import sys
import unittest

import common

DIST = os.path.join(common.ROOT, "dist")


class Dist(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bin = os.path.join(cls.dir, "bin")
        os.mkdir(cls.bin)
        os.symlink(common.ESCRIBA, os.path.join(cls.bin, "escriba"))

    def say(self, *command, code=0, **more):
        env = common.environment(self.dir, {"PATH": self.bin + ":" + os.environ["PATH"], **more.pop("env", {})})
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                                timeout=common.TIMEOUT, **more)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout, result.stderr

    def test_the_man_page_has_every_verb_and_no_warning(self):
        page, _ = self.say(sys.executable, os.path.join(common.ROOT, "tools", "make_man.py"), common.ESCRIBA)
        help_text, _ = self.say(common.ESCRIBA, "help")
        verbs = re.findall(r"^  ([a-z]+)  ", help_text, re.M)
        self.assertGreater(len(verbs), 8)
        for verb in verbs:
            if verb not in ("help", "escriba"):
                self.assertIn("\n.SH %s\n" % verb.upper(), page)
        if not shutil.which("groff"):
            self.skipTest("groff is not here")
        shown, warnings = self.say("groff", "-ww", "-man", "-Tutf8", input=page)
        self.assertEqual(warnings, "")
        self.assertIn("--allow-path", re.sub("\x1b\\[[0-9;]*m", "", shown).replace("\u2010", "-").replace("\u2212", "-"))

    @unittest.skipUnless(shutil.which("bash"), "bash is not here")
    def test_bash_completes_verbs_flags_and_files(self):
        script = (". %s/escriba.bash; COMP_WORDS=(escriba $1 $2); COMP_CWORD=$3; COMPREPLY=(); _escriba; "
                  "printf '%%s\\n' \"${COMPREPLY[@]}\"" % DIST)
        for words, expected in ((("ser", "", "1"), ["serve"]), (("serve", "--allow-p", "2"), ["--allow-path", "--allow-pull"]),
                                (("bridge", "--mo", "2"), ["--mode", "--model"])):
            out, _ = self.say("bash", "-c", script, "bash", *words)
            self.assertEqual(sorted(out.split()), expected)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not here")
    def test_zsh_reads_its_completion(self):
        self.say("zsh", "-n", os.path.join(DIST, "_escriba"))

    @unittest.skipUnless(shutil.which("fish"), "fish is not here")
    def test_fish_completes_verbs_and_flags(self):
        out, _ = self.say("fish", "-c", "source %s/escriba.fish; complete -C 'escriba ser'; complete -C 'escriba serve --allow-p'"
                          % DIST)
        names = [line.split("\t")[0] for line in out.splitlines()]
        self.assertEqual(sorted(names), ["--allow-path", "--allow-pull", "serve"])

    def test_the_launchd_agent_starts_the_server(self):
        with open(os.path.join(DIST, "org.escriba.serve.plist"), "rb") as file:
            agent = plistlib.load(file)
        self.assertEqual(agent["Label"], "org.escriba.serve")
        self.assertEqual(agent["ProgramArguments"][1:], ["serve"])
        self.assertGreater(agent["ExitTimeOut"], 30)  # --drain
        if shutil.which("plutil"):
            self.say("plutil", "-lint", os.path.join(DIST, "org.escriba.serve.plist"))

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not here")
    def test_systemd_takes_the_units(self):
        folder = os.path.join(self.dir, "units")
        os.mkdir(folder)
        for name in ("escriba.service", "escriba.socket"):
            with open(os.path.join(DIST, name)) as file:
                text = file.read().replace("ExecStart=escriba", "ExecStart=" + common.ESCRIBA)
            self.assertIn("[Install]", text)
            with open(os.path.join(folder, name), "w") as file:
                file.write(text.replace("Documentation=man:escriba(1)\n", ""))
        env = common.environment(self.dir, {"SYSTEMD_UNIT_PATH": folder + ":"})
        result = subprocess.run(["systemd-analyze", "verify", *(os.path.join(folder, name) for name in os.listdir(folder))],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=common.TIMEOUT)
        said = [line for line in result.stdout.splitlines() if "escriba" in line]
        self.assertEqual(said, [], result.stdout)

    def test_the_container_file_names_what_the_build_needs(self):
        with open(os.path.join(DIST, "Containerfile")) as file:
            container = file.read()
        with open(os.path.join(common.ROOT, "tools", "setup.sh")) as file:
            packages = re.search(r'debian="([^"]*)"', file.read()).group(1).split()
        for package in packages:
            if package != "libcmocka-dev":  # of the tests
                self.assertIn(package, container)

    def test_the_launcher_is_the_bridge(self):
        out, _ = self.say(os.path.join(DIST, "escriba-bridge"), "--help")
        self.assertIn("escriba bridge", out)
        for name in os.listdir(DIST):
            self.assertLess(os.path.getsize(os.path.join(DIST, name)), 8192, name)


if __name__ == "__main__":
    common.main()
