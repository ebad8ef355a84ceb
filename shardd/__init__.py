"""Owns the shard server: stores the shards of one node; knows nothing of buckets, keys or S3."""

__version__ = "0.1.0"
