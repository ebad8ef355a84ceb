"""Engines of deltalake that append to one table at once, without a lock: a version is made by a conditional request."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, write_deltalake

ENDPOINTS, BUCKET = sys.argv[1].split(","), sys.argv[2]
TABLE = f"s3://{BUCKET}/table"
ENGINES, COMMITS, ROWS = 4, 8, 10


def settings(engine: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": ENDPOINTS[engine % len(ENDPOINTS)],
        "AWS_ALLOW_HTTP": "true",
        "AWS_CONDITIONAL_PUT": "etag",
    }


def engine(number: int) -> None:
    """Commits `COMMITS` times `ROWS` rows; a version that another made first is tried again as the next one."""
    for commit in range(COMMITS):
        rows = range(ROWS * (number * COMMITS + commit), ROWS * (number * COMMITS + commit + 1))
        write_deltalake(
            TABLE,
            pa.table({"engine": [number] * ROWS, "row": list(rows)}),
            mode="append",
            storage_options=settings(number),
            commit_properties=CommitProperties(max_commit_retries=1_000),
        )


if __name__ == "__main__":
    write_deltalake(TABLE, pa.table({"engine": [0], "row": [-1]}), storage_options=settings(0))
    with ProcessPoolExecutor(ENGINES, mp_context=get_context("spawn")) as pool:
        list(pool.map(engine, range(ENGINES)))
    table = DeltaTable(TABLE, storage_options=settings(ENGINES))
    versions = [entry["version"] for entry in table.history()]
    assert sorted(versions) == list(range(ENGINES * COMMITS + 1)), versions
    read = QueryBuilder().register("t", table).execute("select row from t").read_all()
    rows = pa.table(read)["row"].to_pylist()
    assert sorted(rows) == list(range(-1, ENGINES * COMMITS * ROWS)), len(rows)
    print(f"{len(versions)} versions, {len(rows)} rows, none lost")
