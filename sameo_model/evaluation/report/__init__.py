"""Reports of an evaluation: one page with tables, charts and pictures, and plain files."""
