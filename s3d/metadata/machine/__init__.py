"""Owns the state machine: what each command does to the tables; knows no clock, no chance and no LMDB."""

from s3d.metadata.machine.apply import CommandError, apply, check_command

__all__ = ["CommandError", "apply", "check_command"]
