#!/usr/bin/env python3
"""An archive of screen recordings described by a Ray cluster: every frame, or every recording, recorded exactly once.

    describe.py frames     FRAME... | DIRECTORY... --output seen.jsonl --model /models/Qwen3-VL-2B-Instruct
    describe.py recordings VIDEO... | DIRECTORY... --output days.jsonl --model /models/Qwen3-VL-2B-Instruct

`frames` maps pictures over escriba's engine through the Python binding, a model in each worker; `recordings` maps videos
(and directories of screenshots) over `escriba run`, one at a time a worker. Pictures, videos and models are read where they
are used: their paths must mean the same on every node. Ray does the retries: work whose process or node dies is done again
elsewhere. Only this process writes, one line when its work is whole, and no name twice; the same command again goes on
with what is not there. Exit: 0 all well, 1 some are missing or failed, 2 wrong usage.

Needs `pip install "ray[data]"` of the same version on every node, and escriba installed there (`make install`).
"""
import argparse
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
BINDING = os.path.normpath(os.path.join(HERE, "..", "..", "bindings", "python", "escriba"))
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
MOST_BLOCKS = 10000  # Ray keeps a few kilobytes for each
RETRIES = 3          # of work that took its worker down with it; after that it is left out, and the rest goes on


def timestamp_of(path):
    """Seconds told by a name as `escriba describe` reads them: frame_0030s.png, 00-01-30.png; None: no telling."""
    name = os.path.splitext(os.path.basename(path))[0]
    found = re.search(r"(\d+(?:\.\d+)?)s$", name)
    if found:
        return float(found.group(1))
    found = re.search(r"(?:^|\D)(\d{1,2})-(\d{2})-(\d{2})$", name)
    return int(found.group(1)) * 3600 + int(found.group(2)) * 60 + int(found.group(3)) if found else None


def worker_name():
    return "%s:%d" % (os.uname().nodename, os.getpid())


class Describer:
    """A worker's model. A call takes a handful of frames, which share the engine's batch, and gives their records."""

    def __init__(self, options):
        import escriba
        self.escriba, self.model = escriba, escriba.Model(**options)

    def __call__(self, row):
        frames = json.loads(row["frames"])  # [index, path] each: JSON keeps Ray's tables simple
        asked = [self.escriba.Frame(path, timestamp=-1 if timestamp_of(path) is None else timestamp_of(path))
                 for _, path in frames]
        return {"worker": worker_name(),
                "records": [json.dumps(self.record(*frames[seen.index], seen)) for seen in self.model.classify(asked)]}

    @staticmethod
    def record(index, path, seen):
        """The line that `escriba describe` would have written."""
        line = {"index": index, "timestamp": timestamp_of(path), "image": path, "description": seen.description,
                "activity": seen.activity, "apps": seen.apps, "topics": seen.topics, "parsed": seen.parsed}
        if seen.ok and not seen.parsed:
            line.update(raw_text=seen.raw_text, reason=seen.reason)
        line.update(truncated=seen.truncated, prompt_tokens=seen.prompt_tokens, image_tokens=seen.image_tokens,
                    generated_tokens=seen.generated_tokens, seconds=vars(seen.seconds))
        if not seen.ok:
            line["error"] = seen.error
        return line


def die_with_worker():
    """Of a child, on Linux: a worker that is killed does not leave a model at work that nobody waits for."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Runner:
    """Recordings through `escriba run`, each with a store of its own that is gone when its observations are told."""

    def __init__(self, program, flags):
        self.program, self.flags = program, flags

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, preexec_fn=die_with_worker)

    def __call__(self, row):
        path = row["recording"]
        with tempfile.TemporaryDirectory(prefix="escriba-ray-") as work:
            store, card = os.path.join(work, "store.db"), os.path.join(work, "card.json")
            ran = self.run("run", path, "--store", store, "--format", "json", "--output", card, "--quiet", *self.flags)
            line = {"recording": path}
            if os.path.exists(card):
                told = self.run("export", "--store", store, "--format", "jsonl")
                with open(card, encoding="utf-8") as file:
                    line["card"] = json.load(file)
                line["observations"] = [json.loads(one) for one in told.stdout.splitlines()]
            if ran.returncode != 0:
                line["error"] = (ran.stderr.strip().splitlines() or ["escriba run ended with %d" % ran.returncode])[-1]
        return {"worker": worker_name(), "records": [json.dumps(line)]}


# --- what there is to do ---

def find(paths, endings, directories_too):
    """The files of those endings, directories walked in order; with directories_too, a directory of pictures is one."""
    found = []
    for path in paths:
        path = os.path.abspath(path)
        if not os.path.exists(path):
            sys.exit(f"describe.py: {path}: there is no such file")
        if not os.path.isdir(path):
            found.append(path)
            continue
        for folder, inside, names in os.walk(path):
            inside.sort()
            if directories_too and any(name.lower().endswith(PICTURES) for name in names):
                found.append(folder)
            found += [os.path.join(folder, name) for name in sorted(names) if name.lower().endswith(endings)]
    return list(dict.fromkeys(found))


class Output:
    """The file of records: a name once, well or not; what failed before is tried again, and its line replaced."""

    def __init__(self, path, key):
        self.key, self.names, self.failed = key, set(), 0
        lines = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:  # a line cut off by a crash is not one
                lines = [line for line in file if line.endswith("\n") and "error" not in json.loads(line)]
            self.names = {json.loads(line)[key] for line in lines}
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
        self.file = open(path, "a", encoding="utf-8")

    def put(self, line):
        record = json.loads(line)
        if record[self.key] in self.names:
            return
        self.names.add(record[self.key])
        self.failed += "error" in record
        self.file.write(line + "\n")

    def close(self):
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def batches(names, wanted, size):
    """Rows of at most `size` frames, each with its place in the whole list."""
    left = [[index, name] for index, name in enumerate(names) if name in wanted]
    return [{"frames": json.dumps(left[i:i + size])} for i in range(0, len(left), size)]


# --- Ray ---

def options_of(args):
    """What the binding and `escriba run` call the same things."""
    named = {"model": args.model, "backend": args.backend, "endpoint": args.endpoint, "precision": args.precision}
    given = {name: value for name, value in named.items() if value is not None}
    return dict(given, threads=args.cores), [word for name, value in given.items() for word in ("--" + name, value)] + [
        "--threads", str(args.cores)]


def dataset_of(ray, args, rows):
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what cannot be done costs itself only, and is missing at the end
    workers = args.workers or max(1, int(ray.cluster_resources().get("CPU", 1) // args.cores))
    for_binding, for_command = options_of(args)
    kind, arguments = (Describer, (for_binding,)) if args.what == "frames" else (Runner, (args.escriba, for_command))
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS))
    return workers, data.map(kind, fn_constructor_args=arguments, num_cpus=args.cores,
                             compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=2),
                             max_restarts=-1, max_task_retries=RETRIES)


def work(args, rows, output):
    """All rows through the cluster, each answer written as it comes. How many workers, seconds in all, and records a second
    from when every worker had answered: before that Ray starts them, and they load the model."""
    import ray
    environment = {}
    if os.path.isdir(BINDING):
        environment["py_modules"] = [BINDING]  # pure Python: the nodes need the library only
    if os.environ.get("ESCRIBA_LIBRARY"):
        environment["env_vars"] = {"ESCRIBA_LIBRARY": os.path.abspath(os.environ["ESCRIBA_LIBRARY"])}
    ray.init(address=args.address, runtime_env=environment, log_to_driver=args.verbose,
             logging_level="info" if args.verbose else "error")
    warnings.simplefilter("ignore")  # Ray's are for those who write jobs, not for those who run them
    workers, data = dataset_of(ray, args, rows)
    began = said = time.time()
    seen, ready, there = set(), began, len(output.names)
    for row in data.iter_rows():
        for line in row["records"]:
            output.put(line)
        output.file.flush()
        if row["worker"] not in seen:
            seen.add(row["worker"])
            ready, there = (time.time(), len(output.names)) if len(seen) <= workers else (ready, there)
        if time.time() - said > 10:
            said = time.time()
            print(f"describe.py: {len(output.names)} done", file=sys.stderr)
    end = time.time()
    return workers, end - began, (len(output.names) - there) / max(end - ready, 1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="see the head of this file")
    parser.add_argument("what", choices=("frames", "recordings"))
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--output", required=True, help="a file of JSON lines; what is in it already is not done again")
    parser.add_argument("--address", default="auto", help="of the Ray cluster (default: the one this node belongs to)")
    parser.add_argument("--model", help="a directory that is there on every node, or a server's name for a model")
    parser.add_argument("--backend", help="native (default), ollama or openai")
    parser.add_argument("--endpoint", help="of ollama or openai, as each node reaches it")
    parser.add_argument("--precision", help="exact, balanced or fast")
    parser.add_argument("--cores", type=int, default=1, help="of a worker (1)")
    parser.add_argument("--workers", type=int, help="how many (default: as many as the cluster has cores for)")
    parser.add_argument("--batch", type=int, default=8, help="frames a worker is given at once (8)")
    parser.add_argument("--escriba", default="escriba", help="the program, as each node finds it (recordings)")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    frames = args.what == "frames"
    names = find(args.paths, PICTURES if frames else VIDEOS, not frames)
    output = Output(args.output, "image" if frames else "recording")
    wanted = set(names) - output.names
    rows = batches(names, wanted, args.batch) if frames else [{"recording": name} for name in names if name in wanted]
    if rows:
        workers, seconds, rate = work(args, rows, output)
        print(f"describe.py: {len(wanted & output.names)} {args.what} in {seconds:.2f} s on {workers} workers, "
              f"{rate:.2f} a second once they were there", file=sys.stderr)
    output.close()
    missing = [name for name in names if name not in output.names]
    if missing:
        print(f"describe.py: {len(missing)} missing, the first {missing[0]}: what took them down is in Ray's logs",
              file=sys.stderr)
    if output.failed:
        print(f"describe.py: {output.failed} failed: their lines say why", file=sys.stderr)
    return 1 if missing or output.failed else 0


if __name__ == "__main__":
    sys.exit(main())
