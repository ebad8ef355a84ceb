"""Owns the door of the XML that S3 is sent: a root under its right name, or an error; never what is in it."""

from s3d.protocol.errors import S3Error
from s3d.protocol.xml import Node, XmlError, parse


def root_of(raw: bytes, name: str, *, fault: str = "MalformedXML") -> Node:
    """The root of a document, which is called `name`. Raises the S3Error `fault` where it is none, or another."""
    try:
        root = parse(raw)
    except XmlError as error:
        raise S3Error(fault) from error
    if root.name != name:
        raise S3Error(fault)
    return root
