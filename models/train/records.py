"""What is asked and what is answered: the prompts of escriba and the record of each kind of screen."""
ACT = "debugging|coding|review|meeting|research|reading|terminal|other"
FORM = "description: <one sentence> | activity: <%s> | apps: [<programs in use>] | topics: [<subjects>]" % ACT

SINGLE = ("This is a frame of a screen recording. Say what the user is doing. "
          "Answer with one line in exactly this form:\n" + FORM)


def many(n):
    return ("These are %d frames of a screen recording, in order. Say for each frame what the user is doing. "
            "Answer with one line for each frame, in exactly this form:\nFrame <number>: " % n + FORM)


def frame_label(number, seconds):
    return "Frame %d (timestamp: %ss):" % (number, seconds)


# kind of screen: (activity, apps, sentence with subject, sentence without)
KINDS = {
    "code":       ("coding", ["VS Code"], "Editing %s code in VS Code", "Editing code in VS Code"),
    "vim":        ("coding", ["Terminal", "Vim"], "Editing %s code in Vim", "Editing code in Vim"),
    "ide_debug":  ("debugging", ["VS Code"], "Debugging %s code in VS Code", "Debugging code in VS Code"),
    "gdb":        ("debugging", ["Terminal", "GDB"], "Debugging %s in GDB", "Debugging in GDB"),
    "pydebug":    ("debugging", ["Terminal", "Python"], "Debugging %s in Python", "Debugging in Python"),
    "trace":      ("debugging", ["Terminal"], "Looking at a %s stack trace in the terminal", "Looking at a stack trace in the terminal"),
    "gitdiff":    ("review", ["Terminal", "Git"], "Reviewing a %s diff in the terminal", "Reviewing a diff in the terminal"),
    "pull":       ("review", ["Browser"], "Reviewing a pull request on %s in the browser", "Reviewing a pull request in the browser"),
    "ide_diff":   ("review", ["VS Code"], "Reviewing a %s diff in VS Code", "Reviewing a diff in VS Code"),
    "meeting":    ("meeting", ["Zoom"], "In a video call about %s", "In a video call"),
    "search":     ("research", ["Browser"], "Searching the web for %s", "Searching the web"),
    "answers":    ("research", ["Browser"], "Reading answers about %s in the browser", "Reading answers in the browser"),
    "docs":       ("reading", ["Browser"], "Reading documentation about %s in the browser", "Reading documentation in the browser"),
    "article":    ("reading", ["Browser"], "Reading an article about %s in the browser", "Reading an article in the browser"),
    "pdf":        ("reading", ["PDF Viewer"], "Reading a document about %s", "Reading a document"),
    "man":        ("reading", ["Terminal"], "Reading a manual about %s in the terminal", "Reading a manual in the terminal"),
    "shell":      ("terminal", ["Terminal"], "Running commands for %s in the terminal", "Running commands in the terminal"),
    "build":      ("terminal", ["Terminal"], "Building %s in the terminal", "Building in the terminal"),
    "tests":      ("terminal", ["Terminal"], "Running %s tests in the terminal", "Running tests in the terminal"),
    "logs":       ("terminal", ["Terminal"], "Watching %s logs in the terminal", "Watching logs in the terminal"),
    "top":        ("terminal", ["Terminal"], "Watching processes of %s in the terminal", "Watching processes in the terminal"),
    "chat":       ("other", ["Slack"], "Chatting about %s in Slack", "Chatting in Slack"),
    "mail":       ("other", ["Mail"], "Reading mail about %s", "Reading mail"),
    "dashboard":  ("other", ["Browser"], "Watching a %s dashboard in the browser", "Watching a dashboard in the browser"),
    "files":      ("other", ["Files"], "Browsing %s files", "Browsing files"),
    "sheet":      ("other", ["Spreadsheet"], "Working on a %s spreadsheet", "Working on a spreadsheet"),
    "music":      ("other", ["Music"], "Listening to %s music", "Listening to music"),
    "calendar":   ("other", ["Calendar"], "Planning %s in the calendar", "Looking at the calendar"),
    "desktop":    ("other", ["Desktop"], "Looking at the desktop with %s files", "Looking at the desktop"),
}
# Other programs for the same things (screens_more.py), drawn in training only.
MORE = {
    "tedit":      ("coding", ["Terminal", "Editor"], "Editing %s code in an editor", "Editing code in an editor"),
    "editor":     ("coding", ["Editor"], "Editing %s code in an editor", "Editing code in an editor"),
    "stepper":    ("debugging", ["Terminal"], "Debugging %s in the terminal", "Debugging in the terminal"),
    "crash":      ("debugging", ["Terminal"], "Looking at a %s stack trace in the terminal", "Looking at a stack trace in the terminal"),
    "history":    ("review", ["Terminal", "Git"], "Reviewing a %s diff in the terminal", "Reviewing a diff in the terminal"),
    "sidediff":   ("review", ["Terminal"], "Reviewing a %s diff in the terminal", "Reviewing a diff in the terminal"),
    "diffview":   ("review", ["Diff Viewer"], "Reviewing a %s diff", "Reviewing a diff"),
    "textweb":    ("reading", ["Terminal"], "Reading about %s in the terminal", "Reading in the terminal"),
    "commander":  ("other", ["Terminal", "Files"], "Browsing %s files in the terminal", "Browsing files in the terminal"),
}
ALL = {**KINDS, **MORE}


def record(kind, topics, extra_apps=()):
    """The record as a dictionary; `extra_apps` are other programs clearly to be seen."""
    activity, apps, with_topic, without = ALL[kind]
    apps = list(apps) + [a for a in extra_apps if a not in apps]
    text = with_topic % topics[0] if topics else without
    return {"description": text, "activity": activity, "apps": apps, "topics": list(topics), "kind": kind}


def line(rec):
    return "description: %s | activity: %s | apps: [%s] | topics: [%s]" % (
        rec["description"], rec["activity"], ", ".join(rec["apps"]), ", ".join(rec["topics"]))


def parse(text):
    """The strict reading of one line, or None when it is not a valid record."""
    import re
    m = re.fullmatch(r"description: (.+) \| activity: (%s) \| apps: \[(.*)\] \| topics: \[(.*)\]" % ACT, text.strip())
    if not m:
        return None
    split = lambda s: [x.strip() for x in s.split(",") if x.strip()]
    return {"description": m[1], "activity": m[2], "apps": split(m[3]), "topics": split(m[4])}
