"""Owns the flags of `s3ctl drill` and `verify`; what they do is loaded when it is asked for, HTTP client and all."""

import argparse
import random
from pathlib import Path
from typing import Final

from s3d.drill.facts import FAULT_NAMES

NO_FAULTS: Final = "none"
AFTER_A_KILL: Final = (
    "Ctrl-C, SIGTERM and SIGHUP end a drill in order. After kill -9 of it nobody takes away quoin-drill-* in the"
    " folder for temporary files, and with --running a shard server that it had paused stays paused, the node down:"
    " kill -CONT $(pgrep -f 'shardd.daemon .* -node N') wakes it."
)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Both commands. Each gives an exit status, and finds its cluster itself."""
    drill = commands.add_parser(
        "drill",
        help="nodes die in turn under load, in a store made for it; every byte is checked",
        epilog=AFTER_A_KILL,
    )
    names = ", ".join((*FAULT_NAMES, NO_FAULTS))
    drill.add_argument("--running", action="store_true", help="drill the store of -config, on this machine")
    drill.add_argument(
        "--faults", type=_faults, metavar="A,B", help=f"of {names}; all that are possible, without it"
    )
    drill.add_argument("--rounds", type=int, default=1, metavar="N", help="how often each node is struck")
    drill.add_argument("--clients", type=int, default=16, metavar="N")
    drill.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long each fault lasts")
    drill.add_argument(
        "--heal-within",
        type=float,
        default=300.0,
        metavar="S",
        help="a node not well by then broke a promise",
    )
    drill.add_argument("--page", type=Path, metavar="FILE", help="writes a page with plots, HTML, there")
    _add_common(drill)
    drill.set_defaults(alone=_drill)
    verify = commands.add_parser(
        "verify", help="whether an order explains concurrent operations on the cluster of -config"
    )
    verify.add_argument("--clients", type=int, default=20, metavar="N")
    verify.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long they are at work")
    verify.add_argument("--keys", type=int, default=5, metavar="N", help="on how few keys")
    _add_common(verify)
    verify.set_defaults(alone=_verify)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), metavar="N")
    command.add_argument("--key", metavar="ID", help="the access key to ask with; the first without it")
    command.add_argument("--json", action="store_true", help="for programs")


def _drill(arguments: argparse.Namespace) -> int:
    from s3d.ctl import drill

    return drill.run(arguments)


def _verify(arguments: argparse.Namespace) -> int:
    from s3d.ctl import verify

    return verify.run(arguments)


def _faults(words: str) -> tuple[str, ...]:
    found = () if words == NO_FAULTS else tuple(words.split(","))
    if unknown := set(found) - set(FAULT_NAMES):
        raise argparse.ArgumentTypeError(f"no fault {', '.join(sorted(unknown))}")
    return found
