"""Reports of an evaluation: one page with tables, charts and figures, and plain files."""
