"""Makes tests/vectors/tokenizer: small tokenizer.json files and what the reference library (PyPI `tokenizers`) makes of
thousands of strings. Nobody needs it to build or test; run it again after changing what the strings should cover:

    python tests/vectors/make_tokenizer_vectors.py            everything
    python tests/vectors/make_tokenizer_vectors.py tiny       only the strings of models/escriba-tiny

A .bin file is a row of records; numbers are LEB128 varints:

    flags, text bytes (n, bytes), ids with special tokens read (n, ids)
    [flags & 1: ids with special tokens taken for text (n, ids); else they are the same]
    [flags & 2: the decoded text (n, bytes); else it is the text itself]

The text may be broken UTF-8; the reference is given text.decode("utf-8", "replace").
"""

import json
import random
import sys
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parent / "tokenizer"
TINY = Path(__file__).resolve().parents[2] / "models" / "escriba-tiny" / "tokenizer.json"

# As published with Qwen2, Qwen2.5, Qwen3 and Qwen3-VL.
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
ADDED = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
         "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]

SENTENCES = """The quick brown fox jumps over the lazy dog, and nobody asks why.
She's sure they'll say we've seen what I'd do; it isn't what you're told.
Reviewing a pull request in the browser while the tests run in a terminal.
description: editing a parser in the code editor | activity: coding | apps: [editor, terminal] | topics: [json, parser]
Der schöne Bär läuft über die Straße; größere Häuser stehen in München.
L'été où j'ai goûté la crème brûlée, c'était à Orléans, près de l'hôtel.
El niño comió piñas en el jardín; ¿qué más quería? ¡Nada!
O coração não é tão simples como a canção diz, irmão.
Být či nebýt, to je otázka; příliš žluťoučký kůň úpěl ďábelské ódy.
Zażółć gęślą jaźń, powiedział chłopiec w Łodzi.
İstanbul'da ışıklı bir gün; çocuğun şapkası yeşildi.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Ο γρήγορος σκύλος πηδάει πάνω από τον τεμπέλη, είπε ο Ωρίων.
Այբուբենը հայերեն է, գիրքը՝ նոր։
שלום עולם, זה טקסט בעברית עם ניקוד: שָׁלוֹם.
مرحبا بالعالم، هذا نص باللغة العربية مع تشكيل: مَرْحَبًا ١٢٣.
این یک متن فارسی است؛ می‌خواهم آزمایش کنم ۴۵۶.
नमस्ते दुनिया, यह हिन्दी में एक वाक्य है। क्षत्रिय १२३
বাংলা ভাষায় একটি ছোট বাক্য লেখা হলো।
தமிழ் எழுத்துக்கள் அழகானவை, நண்பரே.
తెలుగు భాషలో ఒక వాక్యం.
ไทยเป็นภาษาที่ไม่มีช่องว่างระหว่างคำ
ລາວ ພາສາ ແລະ ຕົວເລກ ໑໒໓
မြန်မာဘာသာစကားဖြင့် ရေးထားသည်။
ქართული ენა ძალიან ლამაზია.
አማርኛ ቋንቋ በግዕዝ ፊደል ይጻፋል።
ភាសាខ្មែរមានអក្សរច្រើន។
བོད་ཡིག་གི་ཚིག་གྲུབ།
Монгол хэл болон ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ
今天天气很好，我们去公园散步吧。学习编程需要耐心。
今日はとても良い天気ですね。コンピュータで文章を書きます。
안녕하세요, 오늘 날씨가 정말 좋네요. 프로그램을 작성합니다.
Tiếng Việt có nhiều dấu: ắ, ằ, ẳ, ẵ, ặ, ổ, ỗ, ữ.
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ; ᚠᚢᚦᚨᚱᚲ; 𐌰𐌱𐌲𐌳; 𓀀𓀁𓂀; 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚""".split("\n")

CODE = """def main(argv: list[str]) -> int:\n    for i, arg in enumerate(argv):\n        print(f"{i}: {arg!r}")\n    return 0\n
#include <stdio.h>\nint main(void)\n{\n\tprintf("%d\\n", 42);\n\treturn 0;\n}\n
static es_status read(const char *path, size_t n, es_error *err) { if (n == 0) return ES_OK; }
const f = async (x) => { await fetch(`https://example.org/api?q=${x}&page=1`); };
SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name HAVING COUNT(*) > 1;
{"id": 123, "method": "vlm_infer", "params": {"messages": [], "maxTokens": 2000}}
$ git commit -m "Fix the tokenizer" && git push origin main 2>&1 | tee log.txt
fn parse<'a>(s: &'a str) -> Result<Vec<Token<'a>>, Error> { s.split_whitespace().map(Token::from).collect() }
<div class="card" id='x'><p>Hello &amp; goodbye</p></div>
for (size_t i = 0; i < n; i++) {\n        sum += a[i] * b[i];\n    }\n
/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0 0x7fff5fbff8c0 192.168.0.1:8080 2026-11-23T18:39:07Z
#!/bin/sh\nset -eu\nexport PATH="$HOME/bin:$PATH"\n
| a | b |\n|---|---|\n| 1 | 2 |\n
- [x] done\n- [ ] to do\n\n> quote\n\n```c\nint x;\n```\n""".split("\n")
CODE = [line.encode().decode("unicode_escape") if "\\" in line else line for line in CODE]

EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇫🇷", "❤️", "☃", "👨🏿‍🚀", "🧑‍💻", "1️⃣", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
         "🤦🏻‍♀️", "✈︎", "🫠", "©️"]
SPACES = [" ", "  ", "\n", "\r\n", "\r", "\t", "\n\n", "\u00a0", "\u3000", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\u2003", "\u202f",
          "\u1680", "\u180e", "\u200b", "\ufeff", "   ", "    ", "\u205f"]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'Ve", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "'ſ",
                "'x", "''s", "’s", "'", "'sh", "'reX", "'l"]
JAMO = [chr(c) for c in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3), 0x1175, 0xAC00, 0xAC01,
                         0xD7A3, 0xAC1C, 0x3131, 0xFFA1)]
SINGLETONS = "\u212b\u2126\u212a\u0340\u0341\u0344\u0374\u037e\u0387\u1fef\u2000\uf900\ufa0e\u2adc\ufb1d\U0001d15e\U0002f800" \
             "\u0958\u09dc\u0f43\u1e9b\ufb01\u00e9\u1ed7\u0149\u01c4"


def assigned():
    """Characters of Unicode 14 by the first word of their name: what a script is called, near enough."""
    groups = {}
    for c in range(0x110000):
        char = chr(c)
        if unicodedata.category(char) in ("Cn", "Cs", "Co"):
            continue
        groups.setdefault(unicodedata.name(char, "CONTROL").split()[0].split("-")[0], []).append(char)
    return groups


GROUPS = assigned()
NAMES = sorted(GROUPS)
MARKS = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
LATIN = [c for c in GROUPS["LATIN"] if ord(c) < 0x2000]


class Strings:
    def __init__(self, seed, extra):
        self.r = random.Random(seed)
        self.turn = 0
        self.extra = extra  # added tokens to write into texts

    def word(self):
        r = self.r
        return "".join(r.choice("etaoinshrdlucmwfgypbvk") for _ in range(r.randint(1, 9)))

    def script(self):
        """Each name in turn, so that none is left out."""
        self.turn += 1
        chars = GROUPS[NAMES[self.turn % len(NAMES)]]
        words = ["".join(self.r.choice(chars) for _ in range(self.r.randint(1, 6))) for _ in range(self.r.randint(1, 3))]
        return self.r.choice([" ", "", "\n", ", "]).join(words)

    def sentence(self):
        words = self.r.choice(SENTENCES).split(" ")
        start = self.r.randrange(len(words))
        return " ".join(words[start:start + self.r.randint(1, 7)])

    def code(self):
        line = self.r.choice(CODE)
        start = self.r.randrange(len(line) + 1) if self.r.random() < 0.3 else 0
        return self.r.choice(["", "    ", "\t", "\t\t"]) + line[start:start + self.r.randint(5, 60)]

    def emoji(self):
        return "".join(self.r.choice(EMOJI + [" ", self.word()]) for _ in range(self.r.randint(1, 4)))

    def spaces(self):
        r = self.r
        return "".join(r.choice(SPACES) * r.choice([1, 1, 1, 2, 5]) + r.choice(["", self.word(), "7", "!", "é"])
                       for _ in range(r.randint(1, 5)))

    def control(self):
        return "".join(self.r.choice([chr(self.r.randrange(32)), "\x7f", chr(self.r.randrange(0x80, 0xA0)), "\u200e", "\u2066",
                                      "a", " "]) for _ in range(self.r.randint(1, 8)))

    def marks(self):
        r = self.r
        return "".join(r.choice([r.choice(LATIN), r.choice(SINGLETONS), " ", "o"]) +
                       "".join(r.choice([r.choice(MARKS), r.choice("\u0301\u0300\u0308\u0327\u0323\u0331\u0338\u0345")])
                               for _ in range(r.choice([0, 1, 1, 2, 3, 4])))
                       for _ in range(r.randint(1, 4)))

    def hangul(self):
        return "".join(self.r.choice(JAMO) for _ in range(self.r.randint(1, 8)))

    def numbers(self):
        r = self.r
        return r.choice(["", "-", "$", "v", " "]) + r.choice([str(r.randrange(10 ** r.randint(1, 15))), f"{r.random():.4f}",
                                                              f"{r.randrange(9999):,}", hex(r.randrange(1 << 40)), "½²³Ⅷ①",
                                                              "٣٤٥", "१२३", "𝟙𝟚"]) + r.choice(["", "%", " km", "e-5"])

    def contraction(self):
        r = self.r
        return " ".join(r.choice(["I", "we", "DON", "ça", "日本", "x1", "", "_"]) + r.choice(CONTRACTIONS) for _ in range(r.randint(1, 4)))

    def tokens(self):
        r = self.r
        inside = [self.word(), " ", "\n", "e\u0301", "\u0301", "\u0338", "日", "<|", "|>", "<", ">", "<|im_", "_", "1", "system\n"]
        return "".join(r.choice([r.choice(self.extra), r.choice(inside)]) for _ in range(r.randint(1, 6)))

    def long(self):
        r = self.r
        part = r.choice(["a", "ab", "=", "-", "あ", "lorem", "ü", " ", "\n", "0", "!?", self.word()])
        return (part * r.randint(10, 120))[:240]

    def mixed(self):
        kinds = [self.script, self.sentence, self.code, self.emoji, self.spaces, self.marks, self.numbers, self.contraction]
        return "".join(self.r.choice(kinds)()[:12] for _ in range(self.r.randint(2, 4)))

    def broken(self):
        r = self.r
        data = bytearray(r.choice([self.mixed, self.emoji, self.script, self.tokens])().encode())[:60]
        for _ in range(r.randint(1, 4)):
            at = r.randrange(len(data) + 1)
            what = r.randrange(4)
            if what == 0 and data:
                del data[at % len(data)]
            elif what == 1:
                data[at:at] = bytes([r.choice([0x80, 0xBF, 0xC0, 0xC1, 0xE0, 0xED, 0xF0, 0xF4, 0xF5, 0xFF, r.randrange(256)])])
            elif what == 2:
                data[at:at] = r.choice([b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xf0\x9f\x98", b"\xe2\x82", b"\xc0\xaf"])
            else:
                del data[at:]
        return bytes(data)

    def next(self):
        kind = self.r.choices(
            [self.script, self.sentence, self.code, self.emoji, self.spaces, self.control, self.marks, self.hangul, self.numbers,
             self.contraction, self.tokens, self.long, self.mixed, self.broken],
            [24, 14, 8, 6, 7, 3, 7, 4, 4, 4, 8, 1, 8, 8])[0]
        text = kind()
        return text if isinstance(text, bytes) else text.encode("utf-8")


def corpus(seed):
    """Text to train on: sentences and code whole and in pieces, and words of made-up syllables."""
    strings = Strings(seed, ["x"])
    syllables = ["".join(strings.r.choice(c) for c in ("bcdfghklmnprstvz", "aeiou", "nrstl ")) for _ in range(300)]
    for _ in range(3000):
        yield strings.r.choice(SENTENCES)
        yield strings.code()
        yield strings.emoji() + strings.numbers() + strings.spaces()
        yield " ".join("".join(strings.r.choice(syllables) for _ in range(strings.r.randint(1, 3))) for _ in range(8))


def train(vocabulary, normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.train_from_iterator(corpus(1), trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return tokenizer


def make_qwen():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = train(3400, normalizers.NFC(),
                      pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), byte_level]))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in ADDED])
    (HERE / "qwen.json").write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    return SPECIAL + ADDED


# U+1E17, not U+00E9: decoding, the reference takes an added token for byte-level spelling when all its characters are of
# that alphabet, and so breaks it. escriba gives an added token's content, always.
PLAIN = [AddedToken("<s>", special=True, normalized=False), AddedToken("<mask>", special=True, lstrip=True, normalized=False),
         AddedToken("<right>", special=True, rstrip=True, normalized=False), AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
         AddedToken("token", single_word=True, normalized=False), AddedToken("<norm\u1e17>", normalized=True),
         AddedToken("e\u0304\u0301t\u1e17", normalized=True, single_word=True), AddedToken("<s><s>", normalized=False),
         AddedToken("two words", normalized=False, special=False), AddedToken("\n\n\n", normalized=True, special=False)]


def make_plain():
    """What Qwen's file does not show: GPT-2's expression, merges as text, ignore_merges, every flag of added tokens."""
    tokenizer = train(700, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    data = json.loads(tokenizer.to_str())
    data["model"]["ignore_merges"] = True
    # A word that no merge makes: found only because it is looked up as a whole.
    data["model"]["vocab"]["\u0120ignoremerges"] = len(data["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_tokens([t for t in PLAIN if not t.special])
    tokenizer.add_special_tokens([t for t in PLAIN if t.special])
    data = json.loads(tokenizer.to_str())
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    (HERE / "plain.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return [t.content for t in PLAIN] + [" ignoremerges", "ignoremerges", "e\u0304\u0301te\u0304\u0301", "\u1e17t\u0113\u0301", "<norme\u0304\u0301>", "<norm\u0113\u0301>", " token ", "tokens", "  <mask> ", "<right>\n x",
                                         " \u00a0<both>\u3000", "_token", "token\u0301"]


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def block(data):
    return varint(len(data)) + data


def ids_block(ids):
    return varint(len(ids)) + b"".join(varint(i) for i in ids)


def write(source, name, count, seed, extra, exact):
    """`exact`: decoding must give back NFC of the text (no token of it strips space)."""
    tokenizer = Tokenizer.from_file(str(source))
    strings = Strings(seed, extra)
    texts = [b"", *(t.encode() for t in extra)]
    seen = set(texts)
    nfc, older = normalizers.NFC(), 0
    while len(texts) < count:
        text = strings.next()
        string = text.decode("utf-8", "replace")
        if nfc.normalize_str(string) != unicodedata.normalize("NFC", string):
            older += 1  # marks of Unicode 13 and 14, which the reference's own tables lack
        elif text not in seen:
            seen.add(text)
            texts.append(text)
    valid = [t.decode("utf-8", "replace") for t in texts]
    tokenizer.encode_special_tokens = True
    plain = [e.ids for e in tokenizer.encode_batch(valid, add_special_tokens=False)]
    tokenizer.encode_special_tokens = False
    special = [e.ids for e in tokenizer.encode_batch(valid, add_special_tokens=False)]
    out, odd = bytearray(), 0
    for text, string, a, b in zip(texts, valid, special, plain):
        decoded = tokenizer.decode(a, skip_special_tokens=False)
        # A mark behind an added token does not combine with it, so there NFC of the whole differs.
        if exact and decoded != unicodedata.normalize("NFC", string):
            odd += 1
            assert any(t in string for t in extra), ascii(string)
        flags = (a != b) | (decoded.encode() != text) << 1
        out += varint(flags) + block(text) + ids_block(a)
        out += ids_block(b) if flags & 1 else b""
        out += block(decoded.encode()) if flags & 2 else b""
    (HERE / name).write_bytes(out)
    print(f"{name}: {len(texts)} strings, {len(out)} bytes, {sum(map(len, special))} ids, {odd} with marks behind added tokens, "
          f"{older} left out as newer than the reference")


def main():
    HERE.mkdir(exist_ok=True)
    if sys.argv[1:] != ["tiny"]:
        write(HERE / "qwen.json", "qwen.bin", 20000, 2, make_qwen(), True)
        write(HERE / "plain.json", "plain.bin", 2500, 3, make_plain(), False)
    if TINY.exists():
        write(TINY, "tiny.bin", 500, 4, SPECIAL + ADDED, True)


if __name__ == "__main__":
    main()
