"""Name the mistake behind a wrong gradient and write the finding."""
