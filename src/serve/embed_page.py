#!/usr/bin/env python3
"""Makes page_data.c of page.html: its bytes, and a content policy that lets only its own script and style run.

embed_page.py page.html page_data.c
"""
import base64
import hashlib
import re
import sys


def hashes(page, tag):
    found = re.findall(r"<%s>(.*?)</%s>" % (tag, tag), page, re.S)
    return " ".join("'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)


with open(sys.argv[1], encoding="utf-8") as file:
    page = file.read()
policy = ("default-src 'none'; connect-src 'self'; img-src data: blob:; script-src %s; style-src %s; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'" % (hashes(page, "script"), hashes(page, "style")))
data = page.encode()
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write('#include "serve/page.h"\nconst unsigned char es_page_html[] = {\n')
    for at in range(0, len(data), 24):
        out.write(",".join(str(byte) for byte in data[at:at + 24]) + ",\n")
    out.write("0};\nconst size_t es_page_size = %d;\n" % len(data))
    out.write('const char *const es_page_policy = "%s";\n' % policy)
