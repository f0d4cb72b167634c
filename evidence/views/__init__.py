"""Views over the evidence table, as SQL text for DuckDB and for Spark: one SELECT a file, named like its view."""
