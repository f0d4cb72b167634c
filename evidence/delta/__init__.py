"""The evidence table in Delta Lake: the one package that imports deltalake.

Facts about delta-rs that shape it: it never calls fsync; a commit that repeats or lowers a `Transaction` version is
accepted; a stale writer of the same application id is refused.
"""
