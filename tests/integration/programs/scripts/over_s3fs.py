"""s3fs as a person uses it: a tree put, listed, read in pieces, appended to, copied, got back; by several gateways."""

import sys
from pathlib import Path

import s3fs

ENDPOINTS, BUCKET, HERE, BACK = sys.argv[1].split(","), *sys.argv[2:]


def gateway(number: int) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(
        endpoint_url=ENDPOINTS[number], use_listings_cache=False, skip_instance_cache=True
    )


first, second, third = (gateway(number) for number in range(3))
first.put(HERE + "/", f"{BUCKET}/tree/", recursive=True)
big = Path(HERE, "big.bin").read_bytes()
assert second.info(f"{BUCKET}/tree/big.bin")["size"] == len(big)
assert second.du(f"{BUCKET}/tree") == sum(
    path.stat().st_size for path in Path(HERE).rglob("*") if path.is_file()
)
assert [Path(name).name for name in third.ls(f"{BUCKET}/tree/dir")] == ["file"]
assert third.isdir(f"{BUCKET}/tree/dir") and not third.exists(f"{BUCKET}/tree/di")
with third.open(f"{BUCKET}/tree/big.bin", "rb", block_size=300_000, cache_type="readahead") as file:
    for offset in (0, 65_535, 12_345_678, len(big) - 10, 3):
        file.seek(offset)
        assert file.read(100_001) == big[offset : offset + 100_001], offset
assert second.cat_ranges([f"{BUCKET}/tree/big.bin"] * 2, [5, -7], [70_000, None]) == [big[5:70_000], big[-7:]]
with first.open(f"{BUCKET}/written", "wb", block_size=5 << 20) as file:
    for at in range(0, len(big), 700_000):
        file.write(big[at : at + 700_000])
with second.open(f"{BUCKET}/written", "ab") as file:  # by copying what is there as a part
    file.write(b"the end")
assert third.cat(f"{BUCKET}/written") == big + b"the end"
second.setxattr(f"{BUCKET}/written", colour="blue")
assert third.getxattr(f"{BUCKET}/written", "colour") == "blue"
second.put_tags(f"{BUCKET}/written", {"shade": "dark"})
assert third.get_tags(f"{BUCKET}/written") == {"shade": "dark"}
try:
    with first.open(f"{BUCKET}/written", "xb") as file:
        file.write(b"never")
except FileExistsError:
    pass
else:
    raise AssertionError("a file that was there was made anew")
third.rm(f"{BUCKET}/written")
first.copy(f"{BUCKET}/tree", f"{BUCKET}/copied", recursive=True)
third.rm(f"{BUCKET}/tree", recursive=True)
assert not second.exists(f"{BUCKET}/tree")
second.get(f"{BUCKET}/copied", BACK, recursive=True)
