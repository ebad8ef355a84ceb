"""Owns where the security contract is held: each of its rules, and each class of what others got wrong, has its tests.

That a test is there is all that is proven here. Whether it fails where the guard that it is about is taken out of the
source, whoever names it here tries once; a table cannot.
"""

import ast
from functools import cache

import pytest

from tests.integration.cluster import ROOT

_INTEGRATION, _PROTOCOL, _OPERATIONS = "tests/integration", "tests/s3d/protocol", "tests/s3d/operations"
_SIGNATURE, _STREAMING = f"{_PROTOCOL}/test_signature.py", f"{_PROTOCOL}/test_streaming.py"
_LIMITS = "tests/s3d/test_wire_limits.py"
_CONNECTION, _SLOW = "tests/s3d/test_connection.py", f"{_INTEGRATION}/test_slow_clients.py"

RULES = {
    "1 one parse of the raw target": (
        f"{_PROTOCOL}/test_routing.py::test_targets",
        f"{_PROTOCOL}/test_routing.py::test_bad_targets",
        f"{_INTEGRATION}/test_bad_paths.py::test_a_strange_key_is_kept_under_its_own_name",
    ),
    "2 a closed table of mechanisms and payloads, one mechanism a request": (
        f"{_SIGNATURE}::test_query_credentials_cannot_unlock_an_unsigned_stream",
        f"{_SIGNATURE}::test_nobody_is_anonymous_and_cannot_sign_chunks",
        f"{_OPERATIONS}/test_authorise.py::test_no_operation_is_allowed_by_default",
        f"{_OPERATIONS}/test_post_access.py::test_one_mechanism_a_request",
    ),
    "3 what is obeyed is signed": (
        f"{_SIGNATURE}::test_unsigned_amz_headers_are_not_obeyed",
        f"{_PROTOCOL}/test_edited_requests.py::test_edited_requests_are_never_taken_for_something_else",
    ),
    "4 strict grammars": (
        f"{_STREAMING}::test_bad_bodies",
        f"{_STREAMING}::test_headers_of_chunked_bodies",
        f"{_OPERATIONS}/test_copies.py::test_copied_ranges_are_read_strictly",
        f"{_INTEGRATION}/test_malformed_http.py::test_what_is_malformed_is_refused_and_nothing_hidden_is_done",
    ),
    "5 aws-chunked bodies are whole": (
        f"{_STREAMING}::test_bad_bodies",
        f"{_STREAMING}::test_trailers_signature_is_required_and_right",
        f"{_STREAMING}::test_edited_bodies_are_refused_or_the_same",
    ),
    "6 times": (
        f"{_INTEGRATION}/test_clock.py::test_a_clock_may_differ_by_a_quarter_of_an_hour",
        f"{_INTEGRATION}/test_clock.py::test_the_day_of_the_scope_is_that_of_the_date",
        f"{_INTEGRATION}/test_clock.py::test_a_presigned_request_has_its_time",
        f"{_SIGNATURE}::test_unknown_key_does_the_same_work",
    ),
    "7 XML": (
        f"{_PROTOCOL}/test_xml.py::test_bombs",
        f"{_PROTOCOL}/test_xml.py::test_the_parser_never_sees_a_dtd",
        f"{_PROTOCOL}/test_xml.py::test_edited_documents_are_read_or_refused",
    ),
    "8 limits of the server": (
        f"{_SLOW}::test_who_begins_and_does_not_go_on_is_ended",
        f"{_SLOW}::test_who_does_not_read_is_cut_and_costs_no_memory",
        f"{_CONNECTION}::test_what_is_no_http_gets_a_refusal_and_the_end",
        f"{_LIMITS}::test_a_client_that_says_nothing_at_all",
        f"{_LIMITS}::test_a_body_that_stops_coming",
    ),
    "9 logs": (
        f"{_SIGNATURE}::test_secrets_and_signatures_are_not_shown",
        f"{_INTEGRATION}/test_audit.py::test_decisions_are_on_disk_and_secrets_are_not",
        f"{_INTEGRATION}/test_malformed_http.py::test_what_is_malformed_is_refused_and_nothing_hidden_is_done",
    ),
    "10 copies": (
        f"{_OPERATIONS}/test_policies.py::test_the_source_of_a_copy_is_read_by_policy_too",
        f"{_OPERATIONS}/test_copies.py::test_a_source_is_decoded_once",
        f"{_OPERATIONS}/test_copies.py::test_sources_that_are_refused",
    ),
}
CLASSES = {
    "a payload mode whose signature is never checked": RULES[
        "2 a closed table of mechanisms and payloads, one mechanism a request"
    ],
    "unsigned x-amz headers honoured": RULES["3 what is obeyed is signed"],
    "internal headers taken from a client": (
        f"{_SIGNATURE}::test_one_edit_of_a_signed_request",
        f"{_INTEGRATION}/test_bad_signatures.py::test_a_forged_request_is_refused",
    ),
    "aws-chunked cut short, or its last signature unchecked": RULES["5 aws-chunked bodies are whole"],
    "the authorised path is not the executed one": (
        *RULES["1 one parse of the raw target"],
        f"{_OPERATIONS}/test_copies.py::test_a_source_is_decoded_once",
    ),
    "POST policies not enforced": (
        f"{_PROTOCOL}/test_post_policy.py::test_conditions",
        f"{_PROTOCOL}/test_post_policy.py::test_no_field_is_let_in_that_no_condition_names",
        f"{_PROTOCOL}/test_post_policy.py::test_it_ends_at_its_time",
        f"{_OPERATIONS}/test_post_access.py::test_what_its_policy_does_not_let_a_form_do",
    ),
    "a copy without a check of its source": RULES["10 copies"],
    "secrets in logs": RULES["9 logs"],
    "XML entities": RULES["7 XML"],
    "compressed bodies inflated": (
        f"{_CONNECTION}::test_a_compressed_body_is_not_inflated",
        f"{_INTEGRATION}/test_bad_bodies.py::test_an_encoding_is_kept_and_never_undone",
    ),
    "connections that never send": (
        f"{_LIMITS}::test_a_client_that_says_nothing_at_all",
        f"{_SLOW}::test_who_begins_and_does_not_go_on_is_ended",
    ),
}


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text())
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found if node.name.startswith("test_"))


@pytest.mark.parametrize("promise", [*RULES, *CLASSES])
def test_every_promise_has_tests_that_are_there(promise: str) -> None:
    tests = (RULES | CLASSES)[promise]
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert name in names_in(path), test
