"""One file per data set: from its original files to the common records."""
