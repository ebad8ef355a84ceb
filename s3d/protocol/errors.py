"""Owns the table of S3's errors: code, status, sentence; and the XML body of one. Never decides that one happens."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from s3d.protocol.xml import XML_DECLARATION, escape

RETRY_AFTER_S: Final = 2  # what a client is told to wait after 503


class ErrorKind(NamedTuple):
    """One row of the table: HTTP status and the sentence that S3 says."""

    status: int
    message: str


# S3 API reference, "Error responses", and the sentences that S3 sends.
ERRORS: Final[Mapping[str, ErrorKind]] = {
    "AccessControlListNotSupported": ErrorKind(400, "The bucket does not allow ACLs"),
    "AccessDenied": ErrorKind(403, "Access Denied"),
    "AccessForbidden": ErrorKind(
        403,
        "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
        "resource's CORS spec.",
    ),
    "AuthorizationHeaderMalformed": ErrorKind(400, "The authorization header is malformed."),
    "AuthorizationQueryParametersError": ErrorKind(400, "The authorization query parameters are malformed."),
    "BadDigest": ErrorKind(400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": ErrorKind(400, "An error occurred when parsing the HTTP request."),
    "BucketAlreadyExists": ErrorKind(
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": ErrorKind(
        409, "Your previous request to create the named bucket succeeded and you already own it."
    ),
    "BucketNotEmpty": ErrorKind(409, "The bucket you tried to delete is not empty"),
    "ConditionalRequestConflict": ErrorKind(
        409,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    ),
    "EntityTooLarge": ErrorKind(400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": ErrorKind(400, "Your proposed upload is smaller than the minimum allowed size"),
    "IllegalLocationConstraintException": ErrorKind(
        400,
        "The specified location constraint is incompatible with the region that this request was sent to.",
    ),
    "IllegalVersioningConfigurationException": ErrorKind(400, "The Versioning element must be specified"),
    "IncompleteBody": ErrorKind(
        400, "You did not provide the number of bytes specified by the Content-Length HTTP header"
    ),
    "IncorrectNumberOfFilesInPostRequest": ErrorKind(
        400, "POST requires exactly one file upload per request."
    ),
    "InternalError": ErrorKind(500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": ErrorKind(403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": ErrorKind(400, "Invalid Argument"),
    "InvalidBucketAclWithObjectOwnership": ErrorKind(
        400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    ),
    "InvalidBucketName": ErrorKind(400, "The specified bucket is not valid."),
    "InvalidBucketState": ErrorKind(409, "The request is not valid with the current state of the bucket."),
    "InvalidChunkSizeError": ErrorKind(400, "The size of a chunk is not valid."),
    "InvalidDigest": ErrorKind(400, "The Content-MD5 you specified was invalid."),
    "InvalidLocationConstraint": ErrorKind(400, "The specified location-constraint is not valid"),
    "InvalidObjectState": ErrorKind(403, "The operation is not valid for the object's storage class"),
    "InvalidPart": ErrorKind(
        400,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
    ),
    "InvalidPartOrder": ErrorKind(
        400,
        "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
    ),
    "InvalidPolicyDocument": ErrorKind(
        400, "The content of the form does not meet the conditions specified in the policy document."
    ),
    "InvalidRange": ErrorKind(416, "The requested range is not satisfiable"),
    "InvalidRequest": ErrorKind(400, "Invalid Request"),
    "InvalidStorageClass": ErrorKind(400, "The storage class you specified is not valid"),
    "InvalidTag": ErrorKind(400, "The tag provided was not a valid tag."),
    "InvalidToken": ErrorKind(400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": ErrorKind(400, "Couldn't parse the specified URI."),
    "KeyTooLongError": ErrorKind(400, "Your key is too long"),
    "MalformedACLError": ErrorKind(
        400, "The XML you provided was not well-formed or did not validate against our published schema"
    ),
    "MalformedPOSTRequest": ErrorKind(
        400, "The body of your POST request is not well-formed multipart/form-data."
    ),
    "MalformedPolicy": ErrorKind(400, "Policies must be valid JSON and the first byte must be '{'"),
    "MalformedTrailerError": ErrorKind(
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": ErrorKind(
        400, "The XML you provided was not well-formed or did not validate against our published schema"
    ),
    "MaxMessageLengthExceeded": ErrorKind(400, "Your request was too big."),
    "MaxPostPreDataLengthExceededError": ErrorKind(
        400, "Your POST request fields preceding the upload file were too large."
    ),
    "MetadataTooLarge": ErrorKind(400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": ErrorKind(405, "The specified method is not allowed against this resource."),
    "MissingContentLength": ErrorKind(411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": ErrorKind(400, "Request body is empty."),
    "MissingSecurityHeader": ErrorKind(400, "Your request was missing a required header"),
    "NoSuchBucket": ErrorKind(404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": ErrorKind(404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": ErrorKind(404, "The CORS configuration does not exist"),
    "NoSuchKey": ErrorKind(404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": ErrorKind(404, "The lifecycle configuration does not exist"),
    "NoSuchPublicAccessBlockConfiguration": ErrorKind(
        404, "The public access block configuration was not found"
    ),
    "NoSuchTagSet": ErrorKind(404, "The TagSet does not exist"),
    "NoSuchUpload": ErrorKind(
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    ),
    "NoSuchVersion": ErrorKind(404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": ErrorKind(
        404, "The specified bucket does not have a website configuration"
    ),
    "NotImplemented": ErrorKind(
        501, "A header or query you provided implies functionality that is not implemented."
    ),
    "NotModified": ErrorKind(304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": ErrorKind(
        404, "Object Lock configuration does not exist for this bucket"
    ),
    "OperationAborted": ErrorKind(
        409,
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    ),
    "OwnershipControlsNotFoundError": ErrorKind(404, "The bucket ownership controls were not found"),
    "PermanentRedirect": ErrorKind(
        301,
        "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all "
        "future requests to this endpoint.",
    ),
    "PreconditionFailed": ErrorKind(412, "At least one of the pre-conditions you specified did not hold"),
    "QuotaExceeded": ErrorKind(403, "The quota of the bucket or account is used up."),
    "ReplicationConfigurationNotFoundError": ErrorKind(404, "The replication configuration was not found"),
    "RequestHeaderSectionTooLarge": ErrorKind(
        400, "Your request header section exceeds the maximum allowed size."
    ),
    "RequestTimeTooSkewed": ErrorKind(
        403, "The difference between the request time and the current time is too large."
    ),
    "RequestTimeout": ErrorKind(
        400, "Your socket connection to the server was not read from or written to within the timeout period."
    ),
    "ServerSideEncryptionConfigurationNotFoundError": ErrorKind(
        404, "The server side encryption configuration was not found"
    ),
    "ServiceUnavailable": ErrorKind(503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": ErrorKind(
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and "
        "signing method.",
    ),
    "SlowDown": ErrorKind(503, "Please reduce your request rate."),
    "StorageFull": ErrorKind(507, "There is no room for new objects; deletes still have room."),
    "TooManyBuckets": ErrorKind(400, "You have attempted to create more buckets than allowed"),
    "UnexpectedContent": ErrorKind(400, "This request does not support content"),
    "UnresolvableGrantByEmailAddress": ErrorKind(
        400, "The email address you provided does not match any account on record."
    ),
    "XAmzContentSHA256Mismatch": ErrorKind(
        400, "The provided 'x-amz-content-sha256' header does not match what was computed."
    ),
}


class S3Error(Exception):
    """An answer of S3 that is not a success.

    `code` is a key of ERRORS; `message` replaces its sentence; `extras` are further elements of the XML body in S3's
    own spelling (BucketName="b", Key="k", Condition="If-Match"). `headers` go on the reply.
    """

    def __init__(
        self, code: str, message: str = "", *, headers: Mapping[str, str] | None = None, **extras: str
    ) -> None:
        kind = ERRORS[code]
        super().__init__(code, message or kind.message)
        self.code = code
        self.status = kind.status
        self.message = message or kind.message
        self.extras = extras
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def to_xml(self, *, resource: str, request_id: str, host_id: str) -> bytes:
        """The body of the reply. A HEAD and a 304 have none: that is for who sends it."""
        extras = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in self.extras.items())
        return (
            f"{XML_DECLARATION}<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message>{extras}"
            f"<Resource>{escape(resource)}</Resource><RequestId>{escape(request_id)}</RequestId>"
            f"<HostId>{escape(host_id)}</HostId></Error>"
        ).encode()
