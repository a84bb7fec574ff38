"""Reading of what detectors write: COCO results, Detectron2's and MMDetection's own files."""
