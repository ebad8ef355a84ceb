"""Owns pools of threads that run from the moment they are made; never what they do."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def running(count: int, name: str) -> ThreadPoolExecutor:
    """`count` threads, all of them started: a system that gives no thread later stops no work of theirs."""
    made, all_run = ThreadPoolExecutor(count, name), Barrier(count + 1)
    for _ in range(count):
        made.submit(all_run.wait)
    all_run.wait()
    return made
