"""Owns what is true of a bucket without the features that are not built: nothing is set, or off; never a feature.

Programs ask for a setting before they change it, so GET answers as S3 does where nobody asked for the feature, and
PUT takes what asks for none. What would have to be obeyed answers 501: nothing is kept here that changes nothing.
"""

from typing import Final

from s3d.metadata.rows import BucketRow
from s3d.operations.documents import document, element
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.sub_resources import SubResource
from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error

# They have no PUT yet.
ENCRYPTION: Final = SubResource("encryption", absent="ServerSideEncryptionConfigurationNotFoundError")
LIFECYCLE: Final = SubResource("lifecycle", absent="NoSuchLifecycleConfiguration")
OBJECT_LOCK: Final = SubResource("object-lock", absent="ObjectLockConfigurationNotFoundError")
REPLICATION: Final = SubResource("replication", absent="ReplicationConfigurationNotFoundError")
WEBSITE: Final = SubResource("website", absent="NoSuchWebsiteConfiguration")


def _read_acceleration(raw: bytes, _: BucketRow) -> bytes:
    status = root_of(raw, "AccelerateConfiguration").text_of("Status")
    if status == "Enabled":
        raise S3Error("NotImplemented", "Transfer acceleration is not implemented.")
    if status != "Suspended":
        raise S3Error("MalformedXML")
    return status.encode()


def _show_acceleration(kept: bytes) -> Reply:
    status = element("Status", kept.decode()) if kept else ""
    return xml_reply(document("AccelerateConfiguration", status))


ACCELERATION: Final = SubResource("accelerate", _read_acceleration, _show_acceleration)


def _read_payer(raw: bytes, _: BucketRow) -> None:
    payer = root_of(raw, "RequestPaymentConfiguration").text_of("Payer")
    if payer == "Requester":
        raise S3Error("NotImplemented", "That requesters pay is not implemented.")
    if payer != "BucketOwner":
        raise S3Error("MalformedXML")


def _show_payer(_: bytes) -> Reply:
    return xml_reply(document("RequestPaymentConfiguration", element("Payer", "BucketOwner")))


REQUEST_PAYMENT: Final = SubResource("requestPayment", _read_payer, _show_payer)


def _empty(name: str, root: str, feature: str) -> SubResource:
    """A setting that is off as an empty document, and on as any other."""

    def read(raw: bytes, _: BucketRow) -> None:
        if root_of(raw, root).children:
            raise S3Error("NotImplemented", f"{feature} is not implemented.")

    return SubResource(name, read, lambda _: xml_reply(document(root)))


LOGGING: Final = _empty("logging", "BucketLoggingStatus", "Access logging to a bucket")
NOTIFICATION: Final = _empty("notification", "NotificationConfiguration", "Notification of events")
