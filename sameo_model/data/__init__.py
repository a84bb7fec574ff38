"""Amodal data sets: records, readers, quality control, statistics and mixing."""
