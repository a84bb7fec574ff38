"""Scoring of predicted masks: mean IoU with true boxes, AP and AR of detectors, reports."""
