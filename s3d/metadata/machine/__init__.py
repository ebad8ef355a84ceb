"""Owns the state machine: what each command does to the tables; knows no clock, no chance and no LMDB."""

from s3d.metadata.machine.apply import apply

__all__ = ["apply"]
