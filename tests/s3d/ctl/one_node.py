"""Owns the cluster.toml of one node that the tests of s3ctl begin with; keys of the whole file may stand before it."""

ONE_NODE = """version = "1.0"
[rs]
data = 1
parity = 0
[[nodes]]
id = 1
host = "127.0.0.1"
port = 1
s3_port = 2
path = "node"
"""
