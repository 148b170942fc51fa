"""Every word the drawn and captured screens say: our own lists and grammars, nothing copied.

A screen is about zero to three subjects (TOPICS). A subject is announced by its own word, as itself or
inside an identifier, a file name or a heading. No other text may contain such a word, so what can be read
on a screen decides its label.
"""
import random

TOPICS = """payments inventory weather database parser scheduler firewall recipes invoices chess robotics
telescope shipping camera tickets hiking budget garden protein bicycle volcano coffee satellite translator
encryption wallet museum orchestra railway thermostat glacier playlist""".split()

ACTIVITIES = "debugging coding review meeting research reading terminal other".split()

APPS = """VS Code|Vim|Terminal|GDB|Python|Git|Browser|PDF Viewer|Zoom|Slack|Mail|Files|Spreadsheet|Music|
Calendar|Desktop""".replace("\n", "").split("|")

NOUNS = """list table queue group value index count level frame point order state event entry batch limit
range match score total error input output buffer handle record report status option config module client
server worker helper reader writer filter number string token width height color label button header footer
column section version branch commit change update review result answer question user team member office
project plan task note draft summary detail page link image video sound signal window panel screen store
price stock field rule policy cycle phase unit block chain layer model sample series vector matrix graph
node edge path route map key lock door light paper board letter morning evening season river stone bridge
market street corner garage kitchen bottle basket ladder engine wheel motor circle square triangle""".split()

VERBS = """load save read write open close start stop check build make find sort merge split parse_args send
fetch store count update remove insert apply reset flush print format convert compare select render resize
register resolve validate wait retry emit handle create delete append collect measure adjust prepare""".split()

ADJ = """new old small large fast slow simple common recent active final empty current next last first local
global remote hidden open closed ready pending stable broken clean quiet bright early late main extra""".split()

NAMES = """Ana Ben Cleo Dan Eva Finn Gita Hugo Ines Jonas Kira Leo Mara Nils Olga Pia Quin Rosa Sven Tara
Uma Vito Wanda Xenia Yara Zeno Amir Bao Chen Dilan""".split()

SURNAMES = """Abel Brandt Costa Duarte Ekman Fischer Gallo Hart Ito Jansen Kovac Lund Moreno Novak Olsen
Pereira Quist Rossi Silva Torres Urban Vogel Weber Young Zeller""".split()

# Words that only held-out screens use.
HELD_NOUNS = """anchor beacon cabin dealer ember fabric goblet hammer island jacket kernel lantern meadow
needle onion pillow quarry ribbon saddle temple umbrella valley wagon yarn zipper harvest canyon pebble
marble copper velvet feather""".split()
HELD_VERBS = "borrow carry drift enlist fasten gather hoist inspect juggle kindle launch mend nudge".split()
HELD_NAMES = "Arlo Bruna Cyril Delia Enzo Freya Gustav Hanna Ivo Judit Karel Linnea Matteo Nadia Otis".split()


class Words:
    """Random text from the lists above. `held` adds the held-out words (and prefers them)."""

    def __init__(self, rng, held=False):
        self.r = rng
        self.nouns = NOUNS + (HELD_NOUNS * 4 if held else [])
        self.verbs = VERBS + (HELD_VERBS * 4 if held else [])
        self.names = NAMES if not held else HELD_NAMES

    def noun(self): return self.r.choice(self.nouns)
    def verb(self): return self.r.choice(self.verbs)
    def adj(self): return self.r.choice(ADJ)
    def name(self): return self.r.choice(self.names)
    def fullname(self): return self.name() + " " + self.r.choice(SURNAMES)

    def syllables(self, n=None):
        r = self.r
        return "".join(r.choice("bcdfghklmnprstvz") + r.choice("aeiou") + r.choice(["", "", "n", "r", "s", "l"])
                       for _ in range(n or r.randint(1, 3)))

    def hexs(self, n=8): return "".join(self.r.choice("0123456789abcdef") for _ in range(n))
    def num(self, hi=999): return str(self.r.randint(0, hi))
    def clock(self): return "%02d:%02d" % (self.r.randint(0, 23), self.r.randint(0, 59))
    def date(self): return "2025-%02d-%02d" % (self.r.randint(1, 12), self.r.randint(1, 28))

    # -- identifiers -------------------------------------------------------------------------------
    def ident(self, topic=None):
        r = self.r
        if topic:
            return r.choice([topic, topic + "_" + self.noun(), self.verb() + "_" + topic,
                             topic.capitalize() + self.noun().capitalize(), topic, topic.upper() + "_" + self.noun().upper(),
                             topic + "." + self.noun(), self.noun() + "_" + topic])
        return r.choice([self.noun(), self.noun() + "_" + self.noun(), self.verb() + "_" + self.noun(),
                         self.noun() + self.noun().capitalize(), self.noun()[0], self.syllables()])

    EXTS = [".py", ".c", ".js", ".rs", ".go", ".ts", ".h", ".rb", ".java"]

    def filename(self, topic=None, ext=None):
        r = self.r
        ext = ext or r.choice(self.EXTS)
        if topic:
            stem = r.choice([topic, topic, topic, "test_" + topic, topic + "_" + self.noun(), self.noun() + "_" + topic])
        else:
            stem = r.choice([self.noun(), self.noun() + "_" + self.noun(), self.syllables(2)])
        return stem + ext

    # -- prose -------------------------------------------------------------------------------------
    def phrase(self, topic=None):
        r = self.r
        if topic:
            t = topic if r.random() < .6 else topic.capitalize()
            return r.choice(["the %s %s" % (t, self.noun()), "%s %s" % (self.adj(), t), t + " " + self.noun(),
                             "%s for %s" % (self.noun(), t), "our " + t, t])
        return r.choice(["the " + self.noun(), "a %s %s" % (self.adj(), self.noun()), "the %s %s" % (self.noun(), self.noun()),
                         "every " + self.noun(), "%s and %s" % (self.noun(), self.noun()), self.syllables()])

    def sentence(self, topic=None):
        r = self.r
        a, b = self.phrase(topic), self.phrase()
        if r.random() < .3:
            a, b = b, a
        v = self.verb().split("_")[0]
        s = r.choice(["%s will %s %s", "%s can %s %s", "%s should not %s %s", "when %s may %s %s", "%s has to %s %s",
                      "because %s did %s %s", "%s must %s %s before the end", "if %s would %s %s again"]) % (a, v, b)
        return s[0].upper() + s[1:] + r.choice([".", ".", ".", "?", ":"])

    def paragraph(self, topic=None, n=4, p=.45):
        return " ".join(self.sentence(topic if self.r.random() < p else None) for _ in range(n))

    def title(self, topic=None):
        r = self.r
        t = topic.capitalize() if topic else self.noun().capitalize()
        return r.choice(["%s " + self.noun(), "How to %s %%s" % self.verb().split("_")[0], "The %s %%s" % self.adj(), "%s",
                         "%s: " + self.adj() + " " + self.noun(), "%s guide", "About %s", "%s and " + self.noun()]) % t

    # -- code: a line is a list of (text, class); classes: k keyword, f function, s string, n number, c comment,
    #    t type, p plain -----------------------------------------------------------------------------
    def code(self, lang, n, topic=None, p=.3):
        out, depth = [], 0
        while len(out) < n:
            t = topic if self.r.random() < p else None
            line, depth = getattr(self, "_" + lang)(depth, t)
            out.append(line)
        return out

    def _expr(self, t=None):
        r = self.r
        return r.choice([[(self.ident(t), "p")], [(self.ident(t), "p"), (" + ", "p"), (self.num(), "n")],
                         [(self.ident(t), "f"), ("(", "p"), (self.ident(), "p"), (")", "p")],
                         [('"%s"' % (t or self.noun()), "s")], [(self.ident(t) + "[" + self.noun()[0] + "]", "p")]])

    def _py(self, d, t):
        r, ind = self.r, [("    " * d, "p")]
        k = r.random()
        if d == 0 or k < .06:
            if k < .5:
                return [("def ", "k"), (self.ident(t), "f"), ("(" + self.noun() + ", " + self.ident(t and (r.random() < .4 and t or None)) + "):", "p")], 1
            if k < .65:
                return [("class ", "k"), ((t or self.noun()).capitalize() + self.noun().capitalize(), "t"), (":", "p")], 1
            if k < .8:
                return [("from ", "k"), (self.ident(t), "p"), (" import ", "k"), (self.ident(), "p")], 0
            if k < .9:
                return [("", "p")], 0
            return [("# " + self.sentence(t), "c")], 0
        if k < .2:
            return ind + [(r.choice(["if ", "for ", "while "]), "k"), (self.noun(), "p"), (" in " if k < .12 else " == ", "k")] + self._expr(t) + [(":", "p")], min(d + 1, 4)
        if k < .32:
            return ind + [("return ", "k")] + self._expr(t), max(0, d - 1)
        if k < .42:
            return ind + [("# " + self.sentence(t), "c")], d
        if k < .5:
            return [("", "p")], r.choice([0, d])
        return ind + [(self.ident(t), "p"), (" = ", "p")] + self._expr(), d if k < .85 else max(1, d - 1)

    def _c(self, d, t):
        r, ind = self.r, [("  " * d, "p")]
        k = r.random()
        if d == 0:
            if k < .25:
                return [("#include ", "k"), ("<%s.h>" % (t or self.noun()), "s")], 0
            if k < .65:
                return [(r.choice(["static ", "", "const "]), "k"), (r.choice(["int ", "void ", "char *", "size_t "]), "t"), (self.ident(t), "f"),
                        ("(", "p"), ("int ", "t"), (self.noun() + ") {", "p")], 1
            if k < .8:
                return [("/* " + self.sentence(t) + " */", "c")], 0
            return [("", "p")], 0
        if k < .18:
            return ind + [(r.choice(["if (", "for (", "while ("]), "k")] + self._expr(t) + [(") {", "p")], min(d + 1, 4)
        if k < .34:
            return [("  " * (d - 1) + "}", "p")], d - 1
        if k < .44:
            return ind + [("return ", "k")] + self._expr(t) + [(";", "p")], d
        if k < .52:
            return ind + [("// " + self.sentence(t), "c")], d
        return ind + [(r.choice(["", "int ", "char ", "auto "]), "t"), (self.ident(t), "p"), (" = ", "p")] + self._expr() + [(";", "p")], d

    def _js(self, d, t):
        r, ind = self.r, [("  " * d, "p")]
        k = r.random()
        if d == 0:
            if k < .2:
                return [("import ", "k"), ("{ " + self.ident() + " } ", "p"), ("from ", "k"), ("'./%s'" % (t or self.noun()), "s")], 0
            if k < .7:
                return [("export ", "k"), (r.choice(["function ", "async function ", "const "]), "k"), (self.ident(t), "f"), ("(" + self.noun() + ") {", "p")], 1
            return [("", "p")], 0
        if k < .15:
            return ind + [("if ", "k"), ("(", "p")] + self._expr(t) + [(") {", "p")], min(d + 1, 4)
        if k < .32:
            return [("  " * (d - 1) + "}", "p")], d - 1
        if k < .45:
            return ind + [("const ", "k"), (self.ident(t), "p"), (" = ", "p"), ("await ", "k")] + self._expr() + [(";", "p")], d
        if k < .52:
            return ind + [("// " + self.sentence(t), "c")], d
        return ind + [(self.ident(t), "p"), (".", "p"), (self.verb(), "f"), ("(", "p")] + self._expr() + [(");", "p")], d


def topics_of(rng):
    """Zero to three subjects, the first one the main one."""
    n = rng.choices([0, 1, 2, 3], [.06, .66, .22, .06])[0]
    return rng.sample(TOPICS, n)
