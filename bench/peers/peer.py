"""What all peers' scripts share: what they are asked, and how they tell what it took. Python 3 standard library only."""

import argparse
import json
import resource
import sys


def parser(description, *required):
    """For MODEL, FRAME... and the flags that every peer is given; `required` are more of them, all texts."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("model")
    made.add_argument("frames", nargs="+")
    made.add_argument("--tokens", type=int, required=True)
    made.add_argument("--threads", type=int, required=True)
    made.add_argument("--batch", type=int, required=True, help="frames at once")
    made.add_argument("--prompt", required=True)
    made.add_argument("--warm", required=True, help="a frame that is answered before, to warm up")
    for name in required:
        made.add_argument(name, required=True)
    return made


def peak_memory():
    """Of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tell(args, name, version, beside, seconds, generated, prompt_tokens, **more):
    """Prints the line of JSON; `more` has its further members, and peak_memory where it is not this process's."""
    told = {"peer": name, "version": version, "beside": beside, "seconds": round(seconds, 3), "frames": len(args.frames),
            "generated": generated, "prompt_tokens": prompt_tokens, "batch": args.batch, "peak_memory": peak_memory()}  # fmt: skip
    print(json.dumps({**told, **more}))
