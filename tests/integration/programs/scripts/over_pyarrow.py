"""pyarrow as a person uses it: a partitioned data set written, read in part, replaced and deleted by the C++ SDK."""

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

ENDPOINTS, BUCKET = sys.argv[1].split(","), sys.argv[2]
ROWS = 600_000


def gateway(number: int) -> fs.S3FileSystem:
    return fs.S3FileSystem(endpoint_override=ENDPOINTS[number], scheme="http", region="us-east-1")


first, second, third = (gateway(number) for number in range(3))
table = pa.table(
    {
        "number": pa.array(range(ROWS)),
        "text": pa.array(f"row {number}" for number in range(ROWS)),
        "year": pa.array(2020 + number % 3 for number in range(ROWS)),
        "city": pa.array(("Köln", "São Paulo", "a/b c")[number % 3] for number in range(ROWS)),
    }
)
parts = ds.partitioning(pa.schema([("year", pa.int64()), ("city", pa.string())]), flavor="hive")
ds.write_dataset(table, f"{BUCKET}/set", format="parquet", partitioning=parts, filesystem=first)
read = ds.dataset(f"{BUCKET}/set", format="parquet", partitioning=parts, filesystem=second)
assert read.to_table(columns=table.column_names).sort_by("number").equals(table)
some = read.to_table(filter=(pc.field("year") == 2021) & (pc.field("number") < 100))
assert some.num_rows == sum(number % 3 == 1 for number in range(100))

with third.open_output_stream(f"{BUCKET}/big.parquet", buffer_size=1 << 20) as stream:  # in parts
    pq.write_table(table, stream, compression="none", use_dictionary=False)
assert second.get_file_info(f"{BUCKET}/big.parquet").size > 20 << 20
with first.open_input_file(f"{BUCKET}/big.parquet") as file:
    assert pq.ParquetFile(file).read().equals(table)
first.copy_file(f"{BUCKET}/big.parquet", f"{BUCKET}/copied.parquet")
second.move(f"{BUCKET}/copied.parquet", f"{BUCKET}/moved.parquet")
assert pq.read_table(f"{BUCKET}/moved.parquet", filesystem=third).equals(table)

found = third.get_file_info(fs.FileSelector(f"{BUCKET}/set", recursive=True))
assert sum(info.type is fs.FileType.File for info in found) == 3, found
second.delete_dir(f"{BUCKET}/set")
assert third.get_file_info(f"{BUCKET}/set").type is fs.FileType.NotFound
first.delete_dir_contents(BUCKET)
